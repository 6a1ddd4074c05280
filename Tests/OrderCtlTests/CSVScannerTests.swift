import SeededRandom
import Testing

@testable import OrderCtl

/// What a scanner gives, in short: fields of records, and line and reason of broken ones.
private enum Found: Equatable {
    case fields([String?], line: Int)
    case broken(line: Int, raw: String)
}

private func scan(_ bytes: [UInt8], pieces: Int = .max) -> [Found] {
    var scanner = CSVScanner()
    var found: [Found] = []
    var rest = bytes[...]
    while true {
        switch scanner.next() {
        case .record(let record): found.append(.fields((0..<record.count).map { record.text($0) }, line: record.line))
        case .broken(let line, let raw, _): found.append(.broken(line: line, raw: String(decoding: raw, as: UTF8.self)))
        case .end: return found
        case .needsMore:
            if rest.isEmpty { scanner.finish() } else { scanner.feed(rest.prefix(pieces)) }
            rest = rest.dropFirst(pieces)
        }
    }
}

private func scan(_ text: String, pieces: Int = .max) -> [Found] { scan(Array(text.utf8), pieces: pieces) }

@Suite("Comma-separated values")
struct CSVScannerTests {
    @Test("records end with LF or CRLF, or with the file", arguments: ["a,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\n1,2"])
    func lineEnds(text: String) {
        #expect(scan(text) == [.fields(["a", "b"], line: 1), .fields(["1", "2"], line: 2)])
    }

    @Test("quotes hold commas, line ends and quotes; lines are counted all the same")
    func quotes() {
        let text = "\"a,\"\"b\"\"\",\"x\r\ny\n\"\nc,\"\"\n\n\"\"\"\",d"
        let expected: [Found] = [
            .fields(["a,\"b\"", "x\r\ny\n"], line: 1), .fields(["c", ""], line: 4), .fields(["\"", "d"], line: 6),
        ]
        #expect(scan(text) == expected)
    }

    @Test("empty fields are fields, empty lines are none, a byte order mark is nothing")
    func emptiness() {
        #expect(scan(",\n\n\r\n,") == [.fields(["", ""], line: 1), .fields(["", ""], line: 4)])
        #expect(scan("\u{FEFF}a\n") == [.fields(["a"], line: 1)])
        #expect(scan("").isEmpty)
        #expect(scan("\n\n\n").isEmpty)
    }

    @Test("a field that is not UTF-8 has no text, and the others have")
    func encoding() {
        #expect(scan([0x61, 0x2C, 0xFF, 0x0A]) == [.fields(["a", nil], line: 1)])
        // An overlong form, and half of a character.
        #expect(scan([0xC0, 0xAF, 0x2C, 0xE2, 0x82]) == [.fields([nil, nil], line: 1)])
    }

    @Test(
        "a broken record costs its first line alone",
        arguments: ["a\"b,c", "\"a\"b,c", "\"a\" ,c", "a\rb,c", "\"never closed"]
    )
    func broken(line: String) {
        #expect(
            scan("h\n\(line)\nok\n") == [
                .fields(["h"], line: 1), .broken(line: 2, raw: line), .fields(["ok"], line: 3),
            ]
        )
    }

    @Test("an open quote, a line and a record without end are given up at the named maximum")
    func limits() {
        let long = String(repeating: "x", count: 3 * CSVScanner.maximumRecordBytes)
        for pieces in [1_000, Int.max] {
            let found = scan("\(long)\nok\n\"\(String(repeating: "y\n", count: 20_000))", pieces: pieces)
            #expect(found.first == .broken(line: 1, raw: String(long.prefix(CSVScanner.maximumRecordBytes))))
            #expect(found[1] == .fields(["ok"], line: 2))
            #expect(found[2] == .broken(line: 3, raw: "\"y"))
            #expect(found[3] == .fields(["y"], line: 4))
            #expect(found.count == 20_002)
        }
    }

    @Test("whatever the bytes and the pieces, nothing traps, and the pieces make no difference")
    func random() {
        let seed = SplitMix64.seed
        print("seed \(seed)")
        var random = SplitMix64(seed: seed)
        let alphabet: [UInt8] = [0x22, 0x22, 0x2C, 0x0A, 0x0D, 0x61, 0xFF, 0xEF, 0xBB, 0xBF, 0x00]
        for _ in 0..<3_000 {
            let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
            }
            let whole = scan(bytes)
            #expect(scan(bytes, pieces: Int.random(in: 1...5, using: &random)) == whole, "\(bytes) of seed \(seed)")
        }
    }
}
