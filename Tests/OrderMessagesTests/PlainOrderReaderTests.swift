import Foundation
import OrderDomain
import OrderMessages
import SeededRandom
import Testing

@Suite("The short way to read an order")
struct PlainOrderReaderTests {
    private enum Outcome: Hashable {
        case right(PlaceOrderRequest)
        case wrong(ValidationFailure)
        case malformed(MalformedBody)

        init(_ read: () throws -> PlaceOrderRequest) throws {
            do {
                self = .right(try read())
            } catch let failure as ValidationFailure {
                self = .wrong(failure)
            } catch let malformed as MalformedBody {
                self = .malformed(malformed)
            }
        }
    }

    private static let usual = #"{"userId":1,"items":[{"productId":2,"quantity":3}]}"#

    private func isPlain(_ body: String) -> Bool {
        PlainOrderReader.read(Array(body.utf8)) != nil
    }

    @Test(
        "the usual bodies are read the short way",
        arguments: [
            usual, #"{"items":[{"quantity":3,"productId":2}],"userId":1}"#,
            " {\n\t\"userId\" : 1 ,\r\n \"items\" : [ { \"productId\" : 2 , \"quantity\" : 3 } ] } \n",
        ]
    )
    func usualBodies(body: String) throws {
        let (user, lines) = try #require(PlainOrderReader.read(Array(body.utf8)))
        #expect(user.rawValue == 1 && lines.map(\.productID.rawValue) == [2] && lines.map(\.quantity.pieces) == [3])
        #expect(!isPlain(body + "x") && !isPlain(body + body) && !isPlain(String(body.dropLast(3))))
    }

    @Test("fifty lines and eighteen digits are plain, one more is not")
    func limits() {
        func body(lines: Int) -> String {
            let line = #"{"productId":999999999999999999,"quantity":1000}"#
            return #"{"userId":1,"items":[\#(Array(repeating: line, count: lines).joined(separator: ","))]}"#
        }
        #expect(isPlain(body(lines: 50)) && !isPlain(body(lines: 51)) && !isPlain(body(lines: 0)))
        #expect(isPlain(#"{"userId":999999999999999999,"items":[{"productId":2,"quantity":3}]}"#))
        #expect(!isPlain(#"{"userId":1000000000000000000,"items":[{"productId":2,"quantity":3}]}"#))
    }

    @Test(
        "anything else is left to the strict way",
        arguments: [
            ("1", "0"), ("1", "-1"), ("1", "01"), ("1", "1.0"), ("1", "1e0"), ("1", "+1"), ("1", "null"), ("1", ""),
            ("1", #""1""#), ("3", "0"), ("3", "00"), ("3", "1001"), ("userId", "userid"), ("userId", #"\u0075serId"#),
            ("userId", "items"), ("productId", "quantity"), (#""userId":1,"#, ""), (#","quantity":3"#, ""),
            ("1,", "1,,"), ("}]", "},]"), ("]}", "],}"), ("1,", #"1,"userId":1,"#), ("1,", #"1,"x":1,"#),
            ("1,", #"1,"items":[],"#), ("2,", #"2,"productId":2,"#), ("1,", "1\u{A0},"), ("{\"u", "\u{FEFF}{\"u"),
        ]
    )
    func leftAlone(part: String, replacement: String) throws {
        let parts = try #require(Self.usual.firstRange(of: part))
        let body = Self.usual.replacingCharacters(in: parts, with: replacement)
        #expect(!isPlain(body), "\(body)")
    }

    // MARK: Random bodies

    private static func number(_ random: inout SplitMix64, upTo limit: Int64) -> String {
        let odd = [
            "0", "-1", "01", "5.0", "1e2", "1001", "9223372036854775807", "9223372036854775808", "null", #""1""#, "[]",
        ]
        let isOdd = Int.random(in: 0..<40, using: &random) == 0
        return isOdd ? odd.randomElement(using: &random) ?? "0" : "\(Int64.random(in: 1...limit, using: &random))"
    }

    private static func joined(_ members: [String], _ ends: (String, String), _ random: inout SplitMix64) -> String {
        func space() -> String { ["", "", "", " ", "\n", "\t\r "].randomElement(using: &random) ?? "" }
        let inner = members.map { space() + $0 + space() }.joined(separator: ",")
        return ends.0 + inner + ends.1
    }

    private static func body(_ random: inout SplitMix64) -> String {
        let lines = (0..<Int.random(in: 1...6, using: &random)).map { _ in
            let members = [
                #""productId":\#(number(&random, upTo: 4))"#, #""quantity": \#(number(&random, upTo: 1_000))"#,
            ]
            return joined(members.shuffled(using: &random), ("{", "}"), &random)
        }
        let members = [
            #""userId":\#(number(&random, upTo: 1 << 40))"#, #""items": \#(joined(lines, ("[", "]"), &random))"#,
        ]
        return joined(members.shuffled(using: &random), ("{", "}"), &random)
    }

    private static func mutated(_ body: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
        var body = body
        for _ in 0..<Int.random(in: 1...3, using: &random) where !body.isEmpty {
            let place = Int.random(in: 0..<body.count, using: &random)
            let byte = Array(#"{}[]",:019-+.eE\ax "#.utf8).randomElement(using: &random) ?? 0
            switch Int.random(in: 0...4, using: &random) {
            case 0: body[place] = byte
            case 1: body.insert(byte, at: place)
            case 2: body.remove(at: place)
            case 3: body[place] = UInt8.random(in: 0...255, using: &random)
            default:
                let end = min(body.count, place + Int.random(in: 1...30, using: &random))
                body.insert(contentsOf: body[place..<end], at: Int.random(in: 0...body.count, using: &random))
            }
        }
        return body
    }

    @Test("whatever the body, the outcome is that of the strict way")
    func sameOutcome() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        var (plain, right, wrong) = (0, 0, 0)
        for round in 0..<20_000 {
            let usual = Array(Self.body(&random).utf8)
            let body = round.isMultiple(of: 3) ? usual : Self.mutated(usual, &random)
            let strict = try Outcome { try PlaceOrderRequest(strictlyParsing: Data(body)) }
            let outcome = try Outcome { try PlaceOrderRequest(parsing: Data(body)) }
            try #require(
                outcome == strict,
                "seed \(SplitMix64.seed): \(String(decoding: body, as: UTF8.self))"
            )
            if PlainOrderReader.read(body) != nil { plain += 1 }
            if case .right = strict { right += 1 } else { wrong += 1 }
        }
        // Without enough of each the comparison would say little.
        #expect(plain > 2_000 && right > 2_000 && wrong > 2_000, "\(plain) plain, \(right) right, \(wrong) wrong")
    }
}
