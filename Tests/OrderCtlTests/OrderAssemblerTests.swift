import Foundation
import OrderStore
import Testing

@testable import Operations
@testable import OrderCtl

/// What becomes of a history: its orders, and the numbers of the lines that are left out with their reasons.
private struct Result {
    var orders: [ImportStore.Order] = []
    var rejected: [Int: String] = [:]
    var rejectedOrders = 0

    var references: [String] { orders.map(\.reference) }
}

private let header = HistoryColumns.names.joined(separator: ",")

private func assemble(_ lines: [String], header: String = header) async throws -> Result {
    let path = NSTemporaryDirectory() + "jumun-\(UUID().uuidString).csv"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try (([header] + lines).joined(separator: "\n")).write(toFile: path, atomically: true, encoding: .utf8)
    let reader = try HistoryReader(path: path, latest: 1_800_000_000_000)
    var result = Result()
    while true {
        let chunk = try await reader.next()
        result.orders += chunk.orders.map(\.order)
        for line in chunk.rejected { result.rejected[line.source.number] = line.reason }
        result.rejectedOrders += chunk.rejectedOrders
        if chunk.isLast { return result }
    }
}

private func line(
    _ order: String,
    _ product: String = "p",
    quantity: String = "1",
    price: String = "10",
    user: String = "u",
    time: String = "2026-01-05T00:18:07Z"
) -> String {
    "\(order),\(user),\(product),Tea,Drinks,\(quantity),\(price),\(time)"
}

@Suite("A history becomes orders")
struct OrderAssemblerTests {
    @Test("lines that stand together are one order; a product in two of them is summed")
    func sums() async throws {
        let result = try await assemble([line("A", "p", quantity: "2"), line("A", "q"), line("A", "p"), line("B")])
        #expect(result.references == ["A", "B"])
        #expect(result.orders[0].items.map(\.productRef) == ["p", "q"])
        #expect(result.orders[0].items.map(\.quantity) == [3, 1])
        #expect(result.orders[0].total == 40)
        #expect(result.rejected.isEmpty)
        #expect(result.orders[0].orderedAt == Date(timeIntervalSince1970: 1_767_572_287))
    }

    @Test("columns may stand in any order, and an order is the same again: id and fingerprint")
    func columnOrder() async throws {
        let first = try await assemble([line("A")]).orders[0]
        let moved = try await assemble(
            ["2026-01-05T09:18:07+09:00,10,1,Drinks,\"Tea, green\",p,u,A"],
            header: HistoryColumns.names.reversed().joined(separator: ",")
        )
        #expect(moved.orders[0].id == first.id)
        #expect(moved.orders[0].fingerprint == first.fingerprint)
        let other = try await assemble([line("A", quantity: "2")]).orders[0]
        #expect(other.id == first.id)
        #expect(other.fingerprint != first.fingerprint)
        // The time of the order, version 7, variant 2.
        #expect(first.id.uuidString.hasPrefix("019B8B84-"), "\(first.id)")
        #expect(Array(first.id.uuidString)[14] == "7")
        #expect("89AB".contains(Array(first.id.uuidString)[19]))
    }

    @Test(
        "a header that is not the one of a history is refused by what is wrong with it",
        arguments: [
            (header + ",coupon", "unknown column 'coupon'"),
            (header.replacing("category,", with: ""), "no column category"),
            (header + ",category", "twice"), ("", "empty"), ("\"order_ref", "broken"),
        ]
    )
    func headers(header: String, words: String) async throws {
        let fault = await #expect(throws: CSVFault.self) { try await assemble([], header: header) }
        #expect(fault?.description.contains(words) == true, "\(String(describing: fault))")
    }

    @Test(
        "a bad line is rejected with what is wrong in it",
        arguments: [
            (line("A", quantity: "0"), "quantity is '0': expected a whole number from 1 to 1000000"),
            (line("A", quantity: "1000001"), "quantity is '1000001'"), (line("A", quantity: "1.0"), "quantity"),
            (line("A", quantity: "+1"), "quantity"), (line("A", quantity: " 1"), "quantity"),
            (line("A", quantity: "99999999999999999999"), "quantity"), (line("A", price: "-5"), "unit_price is '-5'"),
            (line("A", price: "0"), "unit_price"), (line("A", price: "1000000001"), "unit_price"),
            (line("A", time: "yesterday"), "ordered_at is 'yesterday': expected a time such as"),
            (line("A", time: "2026-01-05T00:18:07"), "without a zone"),
            (line("A", time: "2099-01-05T00:18:07Z"), "still to come"), (line("A") + ",more", "9 fields instead of 8"),
            ("A,u,p,Tea,Drinks,1,10", "7 fields instead of 8"), (line(""), "order_ref is empty"),
            (line("A", user: ""), "user_ref is empty"), (line("A", ""), "product_ref is empty"),
            (line("A", "\u{7}"), "control character"),
            (line("A", String(repeating: "x", count: 101)), "longer than 100 characters"),
            ("A,u,p,,Drinks,1,10,2026-01-05T00:18:07Z", "product_name is empty"),
            ("A,u,p,\0,Drinks,1,10,2026-01-05T00:18:07Z", "zero byte"),
            (line("A").replacing("Tea", with: "T\"ea"), "quote"),
        ]
    )
    func badLines(text: String, reason: String) async throws {
        let result = try await assemble([line("Z"), text, line("B")])
        #expect(result.references == ["Z", "B"])
        #expect(result.rejected.keys.sorted() == [3])
        #expect(result.rejected[3]?.contains(reason) == true, "\(result.rejected)")
    }

    @Test("references that look the same but have other bytes do not become one: those that are not NFC are rejected")
    func normalForm() async throws {
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        let (syllable, jamo) = ("\u{D55C}", "\u{1112}\u{1161}\u{11AB}")
        let result = try await assemble([
            line(composed), line(decomposed), line("B", composed), line("C", decomposed), line("D", user: syllable),
            line("E", user: jamo), line("한-\u{1F375}", "녹차", user: "Zoë"), line("F", "p\u{323}\u{302}"),
        ])
        #expect(result.references == [composed, "B", "D", "한-\u{1F375}", "F"])
        #expect(result.rejected.keys.sorted() == [3, 5, 7])
        for (number, column) in [(3, "order_ref"), (5, "product_ref"), (7, "user_ref")] {
            #expect(result.rejected[number]?.contains("\(column) is not in Unicode's normal form C") == true)
        }
    }

    @Test("all that is wrong in a line is told at once")
    func allFaults() async throws {
        let reason = try await assemble([line("A", quantity: "0", price: "x")]).rejected[2] ?? ""
        #expect(reason.contains("quantity") && reason.contains("unit_price"))
    }

    @Test("an order with a bad line is rejected as a whole, also when the line cannot be read")
    func wholeOrders() async throws {
        let bad = try await assemble([line("A"), line("A", "q", quantity: "0"), line("B")])
        #expect(bad.references == ["B"])
        #expect(bad.rejected[2] == "another line of this order is rejected: line 3")
        #expect(bad.rejectedOrders == 1)
        let unreadable = try await assemble([line("A"), "\"A,u", line("A", "q"), line("B"), ",x", line("C")])
        #expect(unreadable.references == ["B", "C"])
        #expect(unreadable.rejected.keys.sorted() == [2, 3, 4, 6])
        #expect(unreadable.rejected[2] == "line 3, among the lines of this order, is rejected")
        let quote = try await assemble([line("A"), line("A", "q").replacing("Tea", with: "T\"ea")])
        #expect(quote.orders.isEmpty)
        let later = try await assemble([line("A", quantity: "0"), line("B"), line("A", "q")])
        #expect(later.references == ["B"])
        #expect(later.rejected[4]?.contains("an earlier part of this order was rejected") == true)
    }

    @Test("lines of an order that contradict each other are rejected")
    func contradictions() async throws {
        let cases = [
            ([line("A"), line("A", "q", user: "v")], "user_ref"),
            ([line("A"), line("A", "q", time: "2026-01-05T00:18:08Z")], "ordered_at"),
            ([line("A"), line("A", price: "11")], "two prices"),
            ([line("A", quantity: "1000000"), line("A")], "more than 1000000 times"),
            ((0...1_000).map { line("A", "p\($0)") }, "more than 1000 products"),
            (
                (0..<2).map { line("A", "p\($0)", quantity: "500000", price: "1000001") },
                "the order costs 1000001000000: expected at most 1000000000000"
            ),
        ]
        let most = try await assemble((0..<2).map { line("A", "p\($0)", quantity: "500000", price: "1000000") })
        #expect(most.orders.map(\.total) == [1_000_000_000_000])
        for (lines, words) in cases {
            let result = try await assemble(lines + [line("B")])
            #expect(result.references == ["B"])
            #expect(result.rejected.count == lines.count)
            #expect(result.rejected[2]?.contains(words) == true, "\(result.rejected[2] ?? "nothing")")
            #expect(result.rejectedOrders == 1)
        }
    }

    @Test("an order without end does not stay in memory, and is one rejected order")
    func endless() async throws {
        let result = try await assemble((0..<12_000).map { _ in line("A") } + [line("B")])
        #expect(result.references == ["B"])
        #expect(result.rejected.count == 12_000)
        #expect(Set(result.rejected.values) == ["the order has more than 5000 lines"])
        #expect(result.rejectedOrders == 1)
    }

    @Test("within a chunk the same order again is known, and with other lines it is rejected")
    func sortsChunk() async throws {
        let path = NSTemporaryDirectory() + "jumun-\(UUID().uuidString).csv"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let lines = [header, line("A"), line("B"), line("A"), line("B", "q"), line("C")]
        try lines.joined(separator: "\r\n").write(toFile: path, atomically: true, encoding: .utf8)
        let orders = try await HistoryReader(path: path, latest: 1_800_000_000_000).next().orders
        let sorted = SortedChunk(orders, known: ["C": [1]])
        #expect(sorted.new.map(\.order.reference) == ["A", "B"])
        #expect(sorted.known.map(\.order.reference) == ["A"])
        #expect(sorted.rejected.map(\.source.number) == [5, 6])
        #expect(sorted.rejectedOrders == 2)
    }

    @Test("numbers are grouped, and the rejected lines stand beside the file")
    func words() {
        #expect([0, 999, 1_000, -1_234_567].map(grouped) == ["0", "999", "1,000", "-1,234,567"])
        #expect(RejectedFile.path(of: "/x/orders.csv") == "/x/orders.rejected.csv")
        #expect(RejectedFile.path(of: "orders.txt") == "orders.txt.rejected.csv")
    }
}
