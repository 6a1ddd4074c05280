import Foundation
import OrderMessages
import SeededRandom
import Testing

@Suite("JSON texts")
struct JSONParserTests {
    private func parse(_ text: String) throws -> JSONValue {
        try JSONValue(parsing: Data(text.utf8))
    }

    // MARK: What is JSON

    @Test(
        "a right text is read as what it says",
        arguments: [
            ("null", .null), ("true", .bool(true)), ("false", .bool(false)), (#""""#, .string("")),
            ("{}", .object([:])), ("[]", .array([])), (" [ ] ", .array([])), ("{\t}\r\n", .object([:])),
            ("[1,null , [true]]", .array([.integer(1), .null, .array([.bool(true)])])),
            (#" { "a" : 1 , "b":{"a":[]}} "#, .object(["a": .integer(1), "b": .object(["a": .array([])])])),
            (#"{"":0,"A":1,"a":2}"#, .object(["": .integer(0), "A": .integer(1), "a": .integer(2)])),
            (#"[{"a":1},{"a":2}]"#, .array([.object(["a": .integer(1)]), .object(["a": .integer(2)])])),
        ] as [(String, JSONValue)]
    )
    func values(text: String, value: JSONValue) throws {
        #expect(try parse(text) == value)
    }

    @Test(
        "a number without fraction and exponent is an integer while it fits 64 bits",
        arguments: [
            ("0", .integer(0)), ("-0", .integer(0)), ("-1", .integer(-1)), ("120", .integer(120)),
            ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
            ("9223372036854775808", .number(0x1p63)), ("-9223372036854775809", .number(-0x1p63)),
            ("1e3", .number(1_000)), ("1E+3", .number(1_000)), ("10.0", .number(10)), ("0e1", .number(0)),
            ("-0.5e-1", .number(-0.05)), ("123.456e78", .number(123.456e78)), ("0.1", .number(0.1)),
            ("5e-324", .number(.leastNonzeroMagnitude)), ("1e-400", .number(0)),
            ("1.7976931348623157e308", .number(.greatestFiniteMagnitude)),
            ("1e400", .number(.infinity)), ("-1e400", .number(-.infinity)), ("1e99999999999", .number(.infinity)),
        ] as [(String, JSONValue)]
    )
    func numbers(text: String, value: JSONValue) throws {
        #expect(try parse(text) == value)
        #expect(try parse("[\(text)]") == .array([value]))
        #expect(try parse("{\"a\":\(text)}") == .object(["a": value]))
    }

    @Test("a number of thousands of digits is a number")
    func longNumbers() throws {
        let digits = String(repeating: "9", count: 10_000)
        #expect(try parse(digits) == .number(.infinity))
        #expect(try parse("0.\(digits)") == .number(1))
        #expect(try parse("1e\(digits)") == .number(.infinity))
        #expect(try parse("1e-\(digits)") == .number(0))
    }

    @Test(
        "a text is read to the last character",
        arguments: [
            (#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{C}\n\r\tz"), (#""\u0000""#, "\0"), (#""\u00e9\u00E9""#, "éé"),
            (#""\uD83D\uDE80x\ud83d\ude80""#, "🚀x🚀"), (#""\ud800\udc00\udbff\udfff""#, "\u{10000}\u{10FFFF}"),
            (#""\ufffe\uffff\ufeff""#, "\u{FFFE}\u{FFFF}\u{FEFF}"), (#""\\u0041""#, #"\u0041"#),
            ("\"김미나 👩‍🚀\"", "김미나 👩‍🚀"), ("\"\u{7F}\u{2028}\u{FEFF}\u{10FFFF}\"", "\u{7F}\u{2028}\u{FEFF}\u{10FFFF}"),
            (#""é\u00e9é""#, "ééé"), ("\"[,]{:}//\"", "[,]{:}//"),
        ]
    )
    func texts(text: String, value: String) throws {
        guard case .string(let read) = try parse(text) else {
            Issue.record("no string")
            return
        }
        // Scalar by scalar: `==` would take é for e with an accent.
        #expect(Array(read.unicodeScalars) == Array(value.unicodeScalars))
        #expect(try parse("{\(text):1}") == .object([value: .integer(1)]))
    }

    @Test("64 levels are read, 65 are not, and each counts only where it is open", arguments: ["[]", #"{"a":}"#])
    func depth(level: String) throws {
        let (opening, closing) = (String(level.dropLast()), String(level.suffix(1)))
        func nested(_ depth: Int) -> String {
            String(repeating: opening, count: depth) + "1" + String(repeating: closing, count: depth)
        }
        var value = try parse(nested(64))
        for _ in 0..<64 {
            switch value {
            case .array(let elements): value = try #require(elements.first)
            case .object(let members): value = try #require(members["a"])
            default: Issue.record("too shallow")
            }
        }
        #expect(value == .integer(1))
        #expect(throws: JSONSyntaxError.self) { try parse(nested(65)) }
        let side = Array(repeating: nested(63), count: 100).joined(separator: ",")
        #expect(throws: Never.self) { try parse("[\(side)]") }
    }

    @Test("a name has at most 256 bytes, a text as many as there are")
    func nameSize() throws {
        for name in [String(repeating: "a", count: 256), String(repeating: "é", count: 128)] {
            #expect(try parse("{\"\(name)\":1}") == .object([name: .integer(1)]))
            #expect(throws: JSONSyntaxError.self) { try parse("{\"\(name)a\":1}") }
            #expect(try parse("\"\(name)a\"") == .string(name + "a"))
        }
    }

    // MARK: What is none

    @Test(
        "what only resembles JSON is refused",
        arguments: [
            // Structure
            "", " ", "[", "]", "{", "}", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1}", "{]", "[1]]",
            "[1:2]", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{,"a":1}"#, #"{"a":1,,"b":2}"#, #"{"a":1 "b":2}"#,
            #"{"a" 1}"#, #"{"a"::1}"#, #"{"a":1"#, #"{"a":"#, #"{"a""#, #"{"a"#, "{1:1}", "{null:1}", "{a:1}",
            "{'a':1}", "{[]:1}", #"{"a":1]"#, #"{"a":1}}"#, "[] x", "1 2", "null null", "{}[]", ",", ":",
            // Words
            "nul", "nulll", "Null", "TRUE", "tru", "truex", "fals", "nan", "NaN", "Infinity", "-Infinity", "undefined",
            // Numbers
            "01", "-01", "00", "-", "--1", "+1", ".5", "-.5", "1.", "1.e1", "1.2.3", "1e", "1e+", "1e-", "1e+-1",
            "1e1.5",
            "1ee1", "0x10", "1_000", "1,000", "- 1", "1 .5", "1f", "1L", "٣", "1e٣", "0e", "2.", "-a",
            // Texts
            #"""#, #""a"#, "'a'", #""\""#, #""\q""#, #""\x41""#, #""\'""#, #""\0""#, #""\U0041""#, #""\"#, #""a\"#,
            "\"\\\n\"", #""\u""#, #""\u004""#, #""\u00g0""#, #""\u+041""#, #""\u 041""#, #""\u004١""#, #""\u004"#,
            #""\u{41}""#, "a",
            // Halves of surrogate pairs
            #""\ud800""#, #""\udbffx""#, #""\udc00""#, #""\ud800\ud800""#, #""\udc00\ud800""#, #""\ud800\u0041""#,
            #""\ud800\n""#, #""\ud800\"#, #""\ud800\u"#, #""\ud800\udc0""#, #""\ud83d \ude80""#, #""\ud800udc00""#,
            // Comments, other white space, byte order mark
            "/* */ 1", "1 // one", "# 1", "[1/**/]", "\u{A0}1", "1\u{B}", "\u{C}1", "[\u{2003}1]", "\u{FEFF}1",
            "\u{FEFF}{}",
            "1\0", "\0", "[\0]", "1\u{1A}",
        ]
    )
    func resembling(text: String) {
        #expect(throws: JSONSyntaxError.self) { try parse(text) }
        // No value may hide in a list, either. The few texts that are lists of values without their brackets are let off.
        if text != "1,000" && !text.isEmpty && text != " " {
            #expect(throws: JSONSyntaxError.self) { try parse("[\(text)]") }
        }
    }

    @Test("no control character stands in a text as it is", arguments: 0..<0x20 as Range<UInt8>)
    func controlCharacters(byte: UInt8) {
        for text in [[0x22, byte, 0x22], [0x22, 0x61, byte, 0x62, 0x22], [0x22, 0x5C, byte, 0x22]] as [[UInt8]] {
            #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: Data(text)) }
        }
    }

    @Test(
        "a member named twice is refused, however it is written",
        arguments: [
            #"{"a":1,"a":1}"#, #"{"a":1,"b":2,"a":null}"#, #"{"a":1,"\u0061":1}"#, #"{"":1,"":1}"#,
            #"[{"a":{"b":1,"b":2}}]"#, #"{"\u00e9":1,"e\u0301":2}"#,
        ]
    )
    func duplicateNames(text: String) {
        #expect(throws: JSONSyntaxError.self) { try parse(text) }
    }

    @Test(
        "bytes that are no UTF-8 are refused wherever they stand",
        arguments: [
            [0xFF], [0xFE, 0xFF], [0x80], [0xC3], [0xC3, 0x28], [0xE2, 0x82], [0xF0, 0x9F, 0x9A], [0xC0, 0xAF],
            [0xE0, 0x80, 0xAF], [0xED, 0xA0, 0x80], [0xED, 0xB0, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0xF5, 0x80, 0x80, 0x80], [0xF8, 0x88, 0x80, 0x80, 0x80],
        ] as [[UInt8]]
    )
    func invalidUTF8(bytes: [UInt8]) {
        for (before, after) in [
            ("", ""), ("", "1"), ("1", ""), ("[", "]"), ("\"", "\""), (#""é"#, #"é""#), (#""\n"#, #"\n""#),
            (#""\u00e9"#, #"\u00a9""#), (#"{""#, #"":1}"#), (#"{"a"#, #"\t":1}"#), ("-", "1"),
        ] {
            let text = Data(before.utf8) + Data(bytes) + Data(after.utf8)
            #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: text) }
        }
    }

    @Test("UTF-16 and UTF-32 are refused", arguments: [String.Encoding.utf16LittleEndian, .utf16, .utf32BigEndian])
    func otherEncodings(encoding: String.Encoding) throws {
        let text = try #require("[1]".data(using: encoding))
        #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: text) }
    }

    @Test("the error tells how far the text was read", arguments: [("[1, ]", 4), ("1 2", 2), ("", 0), (#"["\q"]"#, 4)])
    func offset(text: String, offset: Int) throws {
        let error = try #require(throws: JSONSyntaxError.self) { try parse(text) }
        #expect(error.offset == offset)
    }

    @Test("part of a larger buffer is read like a buffer of its own")
    func slice() throws {
        #expect(try JSONValue(parsing: Data("xx[1]xx".utf8)[2..<5]) == .array([.integer(1)]))
    }

    // MARK: Against Foundation

    @Test("what Foundation writes is read as the value that was written")
    func roundTrip() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        for _ in 0..<500 {
            let value = JSONValue.random(using: &random, depth: 4)
            for options in [[.fragmentsAllowed], [.fragmentsAllowed, .prettyPrinted]]
                as [JSONSerialization.WritingOptions]
            {
                let text = try JSONSerialization.data(withJSONObject: value.foundation, options: options)
                let read = try JSONValue(parsing: text)
                try #require(read == value, "\(String(decoding: text, as: UTF8.self)), seed \(SplitMix64.seed)")
            }
        }
    }

    @Test("every beginning of a right text is refused, and no changed byte makes it fail otherwise than by an error")
    func damaged() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        for _ in 0..<100 {
            let value = JSONValue.array([.random(using: &random, depth: 3)])
            let text = try JSONSerialization.data(withJSONObject: value.foundation)
            for length in 0..<text.count {
                let beginning = text.prefix(length)
                #expect(throws: JSONSyntaxError.self, "seed \(SplitMix64.seed)") { try JSONValue(parsing: beginning) }
            }
            for _ in 0..<50 {
                var changed = text
                changed[Int.random(in: 0..<text.count, using: &random)] = .random(in: 0...255, using: &random)
                guard (try? JSONValue(parsing: changed)) != nil else { continue }
                // Whatever is read here Foundation takes as well, but for exponents that are too large for it.
                guard try !String(decoding: changed, as: UTF8.self).contains(Regex("[0-9][eE]")) else { continue }
                #expect(throws: Never.self, "seed \(SplitMix64.seed)") {
                    try JSONSerialization.jsonObject(with: changed, options: .fragmentsAllowed)
                }
            }
        }
    }
}

extension JSONValue {
    /// What Foundation's writer takes for this value.
    fileprivate var foundation: Any {
        switch self {
        case .null: NSNull()
        case .bool(let value): value
        case .integer(let value): value
        case .number(let value): value
        case .string(let value): value
        case .array(let values): values.map(\.foundation)
        case .object(let members): members.mapValues(\.foundation)
        }
    }

    /// A value nested at most so deep; its numbers are never whole, for Foundation writes 1.0 as 1.
    fileprivate static func random(using random: inout SplitMix64, depth: Int) -> JSONValue {
        switch Int.random(in: 0..<(depth > 0 ? 8 : 5), using: &random) {
        case 0: return .null
        case 1: return .bool(.random(using: &random))
        case 2:
            return .integer(Int64(bitPattern: random.next()) >> Int64.random(in: 0..<64, using: &random))
        case 3:
            let number = Double(bitPattern: random.next())
            return .number(number.isFinite && number != number.rounded() ? number : 0.5)
        case 4: return .string(text(using: &random))
        case 5, 6:
            return .array(
                (0..<Int.random(in: 0..<6, using: &random)).map { _ in .random(using: &random, depth: depth - 1) }
            )
        default:
            let members = (0..<Int.random(in: 0..<6, using: &random)).map { _ in
                (text(using: &random), JSONValue.random(using: &random, depth: depth - 1))
            }
            return .object(Dictionary(members) { $1 })
        }
    }

    private static func text(using random: inout SplitMix64) -> String {
        let ends: [UInt32] = [0x20, 0x7F, 0x7FF, 0xFFFF, 0x10FFFF]
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0..<12, using: &random) {
            let end = ends[Int.random(in: 0..<ends.count, using: &random)]
            text.append(Unicode.Scalar(UInt32.random(in: 0...end, using: &random)) ?? "\"")
        }
        return String(text)
    }
}
