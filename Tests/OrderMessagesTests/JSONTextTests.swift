import Foundation
import OrderDomain
import OrderMessages
import SeededRandom
import Testing

@Suite("Bodies of the order path")
struct JSONTextTests {
    /// What a careless writer gets wrong: all of ASCII, line separators, marks, and characters of two to four bytes.
    private static let scalars: [Unicode.Scalar] =
        (0..<0x80).map { Unicode.Scalar($0) } + [
            "\u{80}", "\u{9F}", "\u{AD}", "é", "\u{301}", "김", "\u{2028}", "\u{2029}", "\u{FEFF}", "\u{FFFD}",
            "\u{FFFF}",
            "😀", "\u{200D}", "\u{10FFFF}", "\"", "\\", "/", "\r", "\n",
        ]

    private static func text(_ random: inout SplitMix64) -> String {
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...24, using: &random) {
            text.append(scalars.randomElement(using: &random) ?? " ")
        }
        return String(text)
    }

    private static func number(_ random: inout SplitMix64) -> Int64 {
        let edges: [Int64] = [0, 1, -1, 9, 10, 99, 100, .max, .min, .min + 1]
        return edges.randomElement(using: &random).flatMap { Bool.random(using: &random) ? $0 : nil }
            ?? Int64.random(in: .min ... .max, using: &random) >> Int64.random(in: 0...63, using: &random)
    }

    private static func id(_ random: inout SplitMix64) -> Int64 {
        Int64.random(in: 1 ... .max, using: &random) >> Int64.random(in: 0...32, using: &random)
    }

    private static func uuid(_ random: inout SplitMix64) throws -> UUID {
        let digits = Array((0..<32).map { _ in String(Int.random(in: 0...15, using: &random), radix: 16) }.joined())
        let groups = [digits[0..<8], digits[8..<12], digits[12..<16], digits[16..<20], digits[20..<32]]
        return try #require(UUID(uuidString: groups.map { String($0) }.joined(separator: "-")))
    }

    /// From the year 1 to the end of 9999.
    private static func time(_ random: inout SplitMix64) -> Date {
        Date(
            timeIntervalSince1970: Double(Int64.random(in: -62_135_596_800_000...253_402_300_799_999, using: &random))
                / 1_000
        )
    }

    private static func order(_ random: inout SplitMix64) throws -> Order {
        let items = try (0..<Int.random(in: 0...4, using: &random)).map { _ in
            OrderItem(
                productID: try #require(ProductID(id(&random))),
                name: text(&random),
                quantity: try #require(Quantity(Int.random(in: Quantity.range, using: &random))),
                unitPrice: Money(minorUnits: number(&random)),
                amount: Money(minorUnits: number(&random))
            )
        }
        return Order(
            id: OrderID(try uuid(&random)),
            userID: try #require(UserID(id(&random))),
            status: try #require(OrderStatus.allCases.randomElement(using: &random)),
            items: items,
            total: Money(minorUnits: number(&random)),
            payment: Payment(
                status: try #require(Payment.Status.allCases.randomElement(using: &random)),
                amount: Money(minorUnits: number(&random)),
                paidAt: time(&random)
            ),
            version: 1,
            createdAt: time(&random),
            updatedAt: time(&random)
        )
    }

    private static func entry(_ random: inout SplitMix64) throws -> BalanceEntry {
        BalanceEntry(
            id: try uuid(&random),
            userID: try #require(UserID(id(&random))),
            version: 1,
            kind: try #require(BalanceEntry.Kind.allCases.randomElement(using: &random)),
            amount: Money(minorUnits: number(&random)),
            balanceAfter: Money(minorUnits: number(&random)),
            orderID: Bool.random(using: &random) ? OrderID(try uuid(&random)) : nil,
            createdAt: time(&random)
        )
    }

    private static func problem(_ random: inout SplitMix64) throws -> Problem {
        let product = try #require(ProductID(id(&random)))
        var problem: Problem
        switch Int.random(in: 0...3, using: &random) {
        case 0:
            let shortages = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                Shortage(productID: product, requested: number(&random), available: number(&random))
            }
            problem = Problem(.insufficientStock(shortages))
        case 1:
            let (balance, required) = (Money(minorUnits: number(&random)), Money(minorUnits: number(&random)))
            problem = Problem(.insufficientBalance(balance: balance, required: required))
        case 2:
            let errors = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                FieldError(field: text(&random), code: text(&random), detail: text(&random))
            }
            problem = .validation(ValidationFailure(errors))
        default:
            problem = Problem(status: 400, code: text(&random), title: text(&random), detail: text(&random))
        }
        if Bool.random(using: &random) { problem.requestId = text(&random) }
        return problem
    }

    @Test("an answer has the bytes that the library's coder writes")
    func sameBytes() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        for _ in 0..<2_000 {
            let order = OrderAnswer(try Self.order(&random))
            try #require(try encoded(order) == order.json, "seed \(SplitMix64.seed)")
            let entry = BalanceEntryAnswer(try Self.entry(&random))
            try #require(try encoded(entry) == entry.json, "seed \(SplitMix64.seed)")
            let problem = try Self.problem(&random)
            try #require(try Array(encoded(problem).utf8) == Array(problem.json.utf8), "seed \(SplitMix64.seed)")
        }
    }

    private struct Envelope: Encodable {
        let specversion = "1.0"
        let datacontenttype = "application/json"
        let source = "/jumun/orders"
        let id, type, subject, time, partitionkey: String
        let sequence: Int
        let traceparent: String?
    }

    @Test("so has an event's envelope, up to its data")
    func sameEnvelope() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        for _ in 0..<1_000 {
            let event = OrderEvent(
                id: try Self.uuid(&random),
                orderID: OrderID(try Self.uuid(&random)),
                sequence: Int(Self.id(&random)),
                type: Self.text(&random),
                occurredAt: Self.time(&random),
                traceparent: Bool.random(using: &random) ? Self.text(&random) : nil,
                data: "{}"
            )
            let envelope = Envelope(
                id: event.id.uuidString.lowercased(),
                type: event.type,
                subject: event.orderID.uuid.uuidString.lowercased(),
                time: event.occurredAt.rfc3339,
                partitionkey: event.orderID.uuid.uuidString.lowercased(),
                sequence: event.sequence,
                traceparent: event.traceparent
            )
            let expected = try encoded(envelope).utf8.dropLast() + Array(#","data":{}}"#.utf8)
            try #require(Array(expected) == Array(event.encodedEnvelope().utf8), "seed \(SplitMix64.seed)")
        }
    }

    @Test("every ASCII character is escaped as the library's coder escapes it, and each text reads back as it was")
    func escapes() throws {
        for scalar in Self.scalars {
            let problem = Problem(status: 400, code: "x", title: "a\(scalar)b", detail: "\(scalar)")
            let json = problem.json
            #expect(try Array(encoded(problem).utf8) == Array(json.utf8), "U+\(String(scalar.value, radix: 16))")
            guard case .object(let fields) = try JSONValue(parsing: Data(json.utf8)) else {
                Issue.record("no object: \(json)")
                continue
            }
            #expect(fields["title"] == .string("a\(scalar)b") && fields["detail"] == .string("\(scalar)"))
        }
    }

    @Test("a UUID's text is its lower case")
    func uuids() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        for _ in 0..<1_000 {
            let uuid = try Self.uuid(&random)
            #expect(uuid.text == uuid.uuidString.lowercased() && OrderID(uuid).text == uuid.text)
        }
    }
}
