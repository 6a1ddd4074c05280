import Foundation
import Postgres
import Synchronization
import TestSupport
import Testing

/// What the clients of a load were told, for comparison with what the database has.
final class Load: Sendable {
    /// A client's only orders are those of its user, so that its orders in the database can be counted.
    struct Told: Sendable {
        /// The ids of the orders that were answered with 201.
        var orders: Set<String> = []
        /// Orders of which nobody could say what became of them: no answer at all, or `outcome_unknown`.
        var unknown = 0
        var refused = 0
        var unavailable = 0
    }

    private struct State {
        var told: [Int64: Told] = [:]
        var isOver = false
    }

    /// More orders than a load needs; a load that is never told to end ends here.
    private static let maximumOrders = 200_000
    private let state = Mutex(State())

    /// No further order is begun.
    func end() { state.withLock { $0.isOver = true } }

    private var isOver: Bool {
        state.withLock { $0.isOver || Load.total(\.orders.count, of: $0) >= Load.maximumOrders }
    }

    /// How many orders were answered with 201 so far.
    var orders: Int { state.withLock { Load.total(\.orders.count, of: $0) } }
    /// How many were answered with 503 and nothing was done.
    var unavailable: Int { state.withLock { Load.total(\.unavailable, of: $0) } }
    /// How many were left without a word.
    var unknown: Int { state.withLock { Load.total(\.unknown, of: $0) } }
    /// How many were refused with 409.
    var refused: Int { state.withLock { Load.total(\.refused, of: $0) } }

    private static func total(_ count: (Told) -> Int, of state: State) -> Int {
        state.told.values.reduce(0) { $0 + count($1) }
    }

    /// One order after another of one user, until the end; each fifth is of what the user cannot pay.
    func run(_ user: Int64, at web: Web, cheap: Product, dear: Product) async throws {
        state.withLock { $0.told[user] = Told() }
        var number = 0
        while !isOver {
            number += 1
            let product = number.isMultiple(of: 5) ? dear : cheap
            let answer = try? await web.placeOrder(user, [(product.id, product.id == dear.id ? 1_000 : 1)])
            try note(answer, of: user)
            // A process that is down refuses at once; the pause keeps its clients from taking the machine.
            if answer?.status != 201 && answer?.status != 409 { try await Task.sleep(for: .milliseconds(20)) }
        }
    }

    private func note(_ answer: Web.Answer?, of user: Int64) throws {
        guard let answer else {
            state.withLock { $0.told[user]?.unknown += 1 }
            return
        }
        switch answer.status {
        case 201:
            let order = try answer.decoded(as: Order.self).id
            let isNew = state.withLock { $0.told[user]?.orders.insert(order).inserted }
            #expect(isNew == true, "\(order) was answered twice")
        case 409:
            #expect(try answer.decoded(as: Problem.self).code == "insufficient_balance")
            state.withLock { $0.told[user]?.refused += 1 }
        default:
            #expect(answer.status == 503, "\(answer.body)")
            let isUnknown = try answer.decoded(as: Problem.self).code == "outcome_unknown"
            state.withLock { state in
                if isUnknown { state.told[user]?.unknown += 1 } else { state.told[user]?.unavailable += 1 }
            }
        }
    }

    /// Each order that was answered with 201 is there; beside them there are at most those without a word.
    func expectTold(_ system: System) async throws {
        var found: [Int64: Set<String>] = [:]
        for row in try await system.rows(Statements.orders) {
            found[try row.get("user_id"), default: []].insert(try row.get("id"))
        }
        for (user, told) in state.withLock({ $0.told }) {
            let there = found[user] ?? []
            #expect(told.orders.subtracting(there).isEmpty, "orders of user \(user) are lost")
            #expect(there.subtracting(told.orders).count <= told.unknown, "user \(user) has orders that were refused")
        }
    }

    private enum Statements {
        static let orders = SQLStatement("load_orders", "SELECT id::text AS id, user_id FROM orders")
    }
}

extension System {
    /// Runs a test beside a load of clients that order one piece after another; afterwards the database must have what
    /// they were told.
    ///
    /// - Parameter web: where they order; at the first order-api by default.
    func underLoad(clients: Int, at web: Web? = nil, _ test: (Load) async throws -> Void) async throws {
        let load = Load()
        let users = try await atOnce(clients) { _ in try await self.createUser() }
        let cheap = try await createProduct(price: 1, stock: 1_000_000_000)
        let dear = try await createProduct(name: "Tea house", price: 1_000_000_000, stock: 1_000_000)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for user in users {
                group.addTask { try await load.run(user, at: web ?? self.api, cheap: cheap, dear: dear) }
            }
            defer { load.end() }
            try await test(load)
            load.end()
            try await group.waitForAll()
        }
        try await load.expectTold(self)
        let answered = "\(load.orders) orders, \(load.refused) refused"
        print("\(answered), \(load.unavailable) unavailable, \(load.unknown) unknown")
    }

    /// The results of so many tasks that run at once, in the order of their numbers.
    func atOnce<Value: Sendable>(
        _ count: Int,
        _ work: @escaping @Sendable (Int) async throws -> Value
    ) async throws -> [Value] {
        try await withThrowingTaskGroup(of: (Int, Value).self) { group in
            for number in 0..<count { group.addTask { (number, try await work(number)) } }
            let results = try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            return (0..<count).compactMap { results[$0] }
        }
    }

    /// Runs a test with one more order-api on the same database, which must exit with 0 afterwards.
    ///
    /// - Parameter databasePort: a proxy's, in place of PostgreSQL's own.
    func withFurtherAPI(databasePort: UInt16? = nil, _ test: (Web) async throws -> Void) async throws {
        let name = Service.orderAPI.rawValue
        let port = try #require(try FreePort.find(1).first)
        var settings = try settings(of: name)
        settings[Service.orderAPI.portKey] = "\(port)"
        if let databasePort {
            var url = try #require(URLComponents(string: settings["DATABASE_URL"] ?? ""))
            url.port = Int(databasePort)
            settings["DATABASE_URL"] = url.string
        }
        let child = try ChildProcess(name, [Service.orderAPI.command], settings: settings, logFolder: folder)
        defer { child.kill() }
        let web = Web(base: "http://127.0.0.1:\(port)")
        try await waitUntilReady("the further order-api", web)
        try await test(web)
        child.terminate()
        #expect(try await child.exitCode(within: .seconds(10)) == 0, "\(child.report)")
    }

    /// What a query finds.
    func rows(_ statement: SQLStatement) async throws -> PostgresRows {
        let connection = try await connect()
        let rows = try await connection.query(statement, deadline: .now + .seconds(30))
        await connection.close()
        return rows
    }

    /// A connection of the schema's owner, for the caller to close.
    func connect() async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            PostgresConfiguration(url: servers.databaseURL(as: "jumun_owner"), applicationName: "end-to-end-tests"),
            deadline: .now + .seconds(30)
        )
    }
}
