import Foundation
import Postgres
import Testing

extension EndToEndTests {
    @Test("a history goes in but for its bad lines, once however often it is said, and counts as sales of its time")
    func importsHistory() async throws {
        try await System.with { system in
            let history = try History(system)
            let dry = try await system.importHistory(history.path, ["--dry-run"])
            #expect(dry.lines == .init(read: 23, imported: 6, importedBefore: 0, rejected: 17))
            #expect(try await system.counts() == Counts())
            #expect(!FileManager.default.fileExists(atPath: history.rejectedPath))

            let first = try await system.importHistory(history.path)
            #expect(first.lines == dry.lines)
            #expect(first.orders == .init(read: 19, imported: 4, importedBefore: 0, rejected: 15))
            #expect((first.newUsers, first.newProducts, first.amount) == (3, 3, 12_970))
            #expect(try history.rejectedLines() == history.badLines)
            let counts = try await system.counts()
            let expected = Counts(orders: 4, items: 5, sales: 5, entries: 8, users: 3, products: 3)
            #expect(counts == expected)
            try await system.audit()
            try await expectSales(system, history)
            try await expectOrder(system, history)

            let second = try await system.importHistory(history.path)
            #expect(second.lines == .init(read: 23, imported: 0, importedBefore: 6, rejected: 17))
            #expect(try await system.counts() == counts)
            #expect(try history.rejectedLines() == history.badLines)
        }
    }

    /// The sales of the last three days, and not the one of a year ago.
    private func expectSales(_ system: System, _ history: History) async throws {
        try await system.run("aggregator", ["run"])
        let popular = try await system.popular("by=quantity")
        #expect(popular.data.map(\.name) == ["Cup", "Tea, \"green\"\nnew harvest"])
        #expect(popular.data.map(\.quantity) == [12, 7])
        #expect(popular.data.map(\.amount) == [12_000, 70])
        #expect(popular.data.map(\.price) == [1_000, 10])
    }

    private func expectOrder(_ system: System, _ history: History) async throws {
        let id = try #require(try await system.rows(ImportStatements.orderA).first?.get("id", as: String.self))
        let order: Order = try await system.api.get("/v1/orders/\(id)").decoded()
        #expect((order.status, order.totalAmount, order.payment.status) == ("DELIVERED", 5_030, "PAID"))
        #expect(order.createdAt == history.recent.replacing("Z", with: ".000Z"))
        #expect(order.items.map(\.quantity) == [3, 5])
        let past = try await system.api.get("/v1/orders/\(id)/history")
        #expect(past.status == 200 && past.body.contains("DELIVERED") && !past.body.contains("\"PAID\""))
        try refused(await system.api.post("/v1/orders/\(id)/cancel", "{}"), 409, "order_not_cancellable")
        let user: User = try await system.api.get("/v1/users/\(order.userId)").decoded()
        #expect((user.name, user.balance) == ("anna", 0))
        let entries = try await system.api.get("/v1/users/\(order.userId)/balance/history").body
        #expect(entries.contains("\"amount\":-5030") && entries.contains("\"balanceAfter\":5030"), "\(entries)")
        #expect(try await system.product(order.items[0].productId).stock == 0)
        #expect(try await system.events().isEmpty)
    }

    @Test("an import that is killed goes on where it was, beside live orders of the same users and products")
    func killedImport() async throws {
        try await System.with { system in
            let path = system.folder.appending(path: "large.csv").path(percentEncoded: false)
            let lines = 70_000
            try History.large(lines).write(toFile: path, atomically: true, encoding: .utf8)
            let killed = try system.beginImport(path)
            try await system.eventually("a part is there", within: .seconds(60)) {
                try await system.counts().orders > 0
            }
            killed.kill()
            _ = try await killed.exitCode(within: .seconds(10))
            let part = try await system.counts()
            #expect(part.orders > 0 && part.items < lines, "\(part)")
            try await system.audit()

            let resumed = try system.beginImport(path)
            var live = 0
            while resumed.isRunning, live < 10_000 {
                let (user, product) = (Int64(live % 50 + 1), Int64(live % 70 + 1))
                try await system.serve(user, product)
                live += 1
            }
            #expect(live > 0)
            #expect(try await resumed.exitCode(within: .seconds(60)) == 0, "\(resumed.report)")
            let report: ImportAnswer = try resumed.log.lastLine()
            #expect(report.lines.importedBefore == part.items)
            #expect(report.lines.imported == lines - part.items)
            let counts = try await system.counts()
            #expect(counts.items == lines + live && counts.sales == lines + live)
            #expect(counts.orders == lines / 2 + live)
            try await system.eventually("the live orders' events are at the platform", within: Self.recoveryTime) {
                try await system.events().count == live
            }
        }
    }

    @Test("beside a backup an import goes on, and so do live orders")
    func importBesideBackup() async throws {
        try await System.with { system in
            let path = system.folder.appending(path: "past.csv").path(percentEncoded: false)
            try History.large(2_000).write(toFile: path, atomically: true, encoding: .utf8)
            // What pg_dump holds until its end, on every table.
            let backup = try await system.connect()
            try await backup.execute(script: ImportStatements.lockAsBackup, deadline: .now + .seconds(10))
            let importing = try system.beginImport(path)
            #expect(try await importing.exitCode(within: .seconds(20)) == 0, "\(importing.report)")
            for (user, product) in [(1, 1), (2, 2)] { try await system.serve(Int64(user), Int64(product)) }
            try await backup.execute(script: "COMMIT", deadline: .now + .seconds(10))
            await backup.close()
            #expect(try await system.counts().items == 2_002)
        }
    }

    @Test("a replay sends past orders through the API, and said again it orders nothing")
    func replays() async throws {
        try await System.with { system in
            let path = system.folder.appending(path: "past.csv").path(percentEncoded: false)
            try History.large(60).write(toFile: path, atomically: true, encoding: .utf8)
            _ = try await system.importHistory(path, ["--dry-run"])
            let arguments = ["replay", path, "--rate", "200", "--limit", "25", "--api", system.api.base]
            let command = arguments + ["--format", "json"]
            let first: ReplayAnswer = try await system.run("orderctl", command).lastLine()
            #expect((first.sent, first.outcomes) == (25, ["201": 25]))
            let counts = try await system.counts()
            #expect((counts.orders, counts.items) == (25, 50))
            let second: ReplayAnswer = try await system.run("orderctl", command).lastLine()
            #expect(second.outcomes == ["201 replayed": 25])
            #expect(try await system.counts() == counts)
            try await system.eventually("the events are at the platform", within: Self.recoveryTime) {
                try await system.events().count == 25
            }
            let otherPath = system.folder.appending(path: "other.csv").path(percentEncoded: false)
            // Other orders of the same products and as much of each: they need stock and money of their own.
            try History.large(60, orders: "other-").write(toFile: otherPath, atomically: true, encoding: .utf8)
            let other: ReplayAnswer = try await system.run(
                "orderctl",
                ["replay", otherPath] + command.dropFirst(2)
            ).lastLine()
            #expect((other.sent, other.outcomes) == (25, ["201": 25]))
            // The same orders as history: other orders, of the same users and products.
            _ = try await system.importHistory(path)
            let both = try await system.counts()
            #expect((both.orders, both.users) == (80, counts.users + 5))
        }
    }
}

/// A small history with a bad line of each kind.
private struct History {
    let path: String
    /// An hour ago.
    let recent = Date(timeIntervalSinceNow: -3_600).formatted(.iso8601)
    /// The numbers of the lines that are to be rejected.
    private(set) var badLines: [Int] = []

    var rejectedPath: String { path.replacing(".csv", with: ".rejected.csv") }

    init(_ system: System) throws {
        path = system.folder.appending(path: "history.csv").path(percentEncoded: false)
        let tea = "tea,\"Tea, \"\"green\"\"\nnew harvest\",Drinks"
        let cup = "cup,Cup,"
        var text = Data([0xEF, 0xBB, 0xBF])
        var line = 1
        var bad: [Int] = []
        func add(_ record: String, isBad: Bool = false) {
            if isBad { bad.append(line) }
            text.append(contentsOf: Data((record + "\r\n").utf8))
            line += record.count { $0 == "\n" } + 1
        }
        add("order_ref,user_ref,product_ref,product_name,category,quantity,unit_price,ordered_at")
        add("A,anna,\(tea),1,10,\(recent)")
        add("A,anna,\(cup),5,1000,\(recent)")
        add("A,anna,\(tea),2,10,\(recent)")
        add("B,bert,\(cup),0,1000,\(recent)", isBad: true)
        add("C,bert,\(cup),1000001,1000,\(recent)", isBad: true)
        add("D,bert,\(cup),1,-1,\(recent)", isBad: true)
        add("E,bert,\(cup),1,1000,yesterday", isBad: true)
        add("F,bert,\(cup),1,1000,2026-01-01T00:00:00", isBad: true)
        bad.append(line)
        text.append(contentsOf: Data("G,bert,cup,C".utf8) + [0xFF] + Data("p,,1,1000,\(recent)\r\n".utf8))
        line += 1
        add("H,bert,\(cup),1,1000,\(recent),more", isBad: true)
        add("I,bert,\(cup),1,1000", isBad: true)
        add("J,bert,\(cup),2,1000,\(recent)", isBad: true)
        add("J,bert,\(tea),x,10,\(recent)", isBad: true)
        add("K,bert,\(cup),1,1000,2999-01-01T00:00:00Z", isBad: true)
        add("L,bert,cup,C\"up,,1,1000,\(recent)", isBad: true)
        add("M,,\(cup),1,1000,\(recent)", isBad: true)
        add("N,bert,\(cup),7,1000,\(recent)")
        add("A,anna,\(cup),1,1000,\(recent)", isBad: true)
        add(",bert,\(cup),1,1000,\(recent)", isBad: true)
        add("O,\"bert\",\(tea),4,10,\(recent)")
        add("P,cleo,old,\"Old pot\",Pots,1,900,2025-01-05T09:18:07+09:00")
        add("Q,cleo,old,\"Old pot\",Pots,1,1000000001,2025-01-05T09:18:07+09:00", isBad: true)
        add("R,cleo,old,\"Old pot\",Pots,1000000,1,1969-12-31T23:59:59Z", isBad: true)
        badLines = bad
        try text.write(to: URL(filePath: path))
    }

    /// The numbers in the file of rejected lines, in its order.
    func rejectedLines() throws -> [Int] {
        try String(contentsOfFile: rejectedPath, encoding: .utf8).split(separator: "\n").compactMap { line in
            line.split(separator: ",").first.flatMap { Int($0) }
        }
    }

    /// Good orders of two lines each.
    static func large(_ lines: Int, orders: String = "o") -> String {
        var text = "product_name,order_ref,user_ref,product_ref,category,quantity,unit_price,ordered_at\n"
        for order in 0..<lines / 2 {
            for item in 0..<2 {
                let product = (order * 7 + item * 31) % 400
                text += "Thing \(product),\(orders)\(order),u\(order * 13 % 900),p\(product),Things,\(order % 9 + 1),"
                text += "\(product * 3 + 5),2026-02-03T04:05:06.\(order % 1_000)Z\n"
            }
        }
        return text
    }
}

/// How many rows there are.
private struct Counts: Equatable {
    var orders = 0
    var items = 0
    var sales = 0
    var entries = 0
    var users = 0
    var products = 0
}

private enum ImportStatements {
    static let counts = SQLStatement(
        "import_test_counts",
        """
        SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM order_items) AS items,
               (SELECT count(*) FROM sales_ledger) AS sales, (SELECT count(*) FROM balance_history) AS entries,
               (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM products) AS products
        """
    )
    static let lockAsBackup = """
        BEGIN;
        DO $$
        DECLARE name text;
        BEGIN
            FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
                EXECUTE format('LOCK TABLE %I IN ACCESS SHARE MODE', name);
            END LOOP;
        END $$;
        """
    static let orderA = SQLStatement(
        "import_test_order",
        "SELECT order_id::text AS id FROM import_orders WHERE order_ref = 'A'"
    )
}

private struct ImportAnswer: Decodable {
    struct Count: Decodable, Equatable {
        let read: Int
        let imported: Int
        let importedBefore: Int
        let rejected: Int
    }

    let lines: Count
    let orders: Count
    let newUsers: Int
    let newProducts: Int
    let amount: Int64
}

private struct ReplayAnswer: Decodable {
    let sent: Int
    let outcomes: [String: Int]
}

extension String {
    /// The last line, which is JSON.
    fileprivate func lastLine<Value: Decodable>() throws -> Value {
        let line = split(separator: "\n").last ?? ""
        return try JSONDecoder().decode(Value.self, from: Data(line.utf8))
    }
}

extension System {
    fileprivate func importHistory(_ path: String, _ options: [String] = []) async throws -> ImportAnswer {
        try await run("orderctl", ["import", path, "--format", "json"] + options).lastLine()
    }

    fileprivate func beginImport(_ path: String) throws -> ChildProcess {
        let arguments = ["import", path, "--format", "json"]
        return try ChildProcess("orderctl", arguments, settings: settings(of: "orderctl"), logFolder: folder)
    }

    fileprivate func counts() async throws -> Counts {
        let row = try await rows(ImportStatements.counts)[0]
        func count(_ column: String) throws -> Int { Int(try row.get(column, as: Int64.self)) }
        return try Counts(
            orders: count("orders"),
            items: count("items"),
            sales: count("sales"),
            entries: count("entries"),
            users: count("users"),
            products: count("products")
        )
    }

    /// Sells one piece to a user, both from an import: with the money and the stock for it.
    fileprivate func serve(_ user: Int64, _ product: Int64) async throws {
        let stocked = try await api.post("/v1/products/\(product)/stock-adjustments", #"{"delta":1,"reason":"test"}"#)
        try #require(stocked.status == 201, "\(stocked.body)")
        let charged = try await api.post("/v1/users/\(user)/balance/charges", #"{"amount":5000}"#)
        try #require(charged.status == 201, "\(charged.body)")
        let answer = try await placeOrder(user, [(product, 1)])
        try #require(answer.status == 201, "\(answer.body)")
    }
}
