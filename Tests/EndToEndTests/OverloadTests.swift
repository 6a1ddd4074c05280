import Foundation
import Glibc
import Postgres
import Testing

extension EndToEndTests {
    /// More than the engine's batch (256) and queue (1,024) take together.
    private static let crowd = 1_500

    @Test(
        "when the engine cannot keep up it says 503 and when to come back; what it accepted is done, and nothing else"
    )
    func overload() async throws {
        FileLimit.raise(for: Self.crowd)
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(price: 10, stock: 10_000)
            let clients = try (0..<Self.crowd).map { _ in try RawConnection(system.api) }
            let stall = try await Stall(of: product.id, system)
            for client in clients { client.order(product.id, by: user) }
            try await system.eventually("somebody is refused", within: .seconds(20)) {
                clients.contains { $0.isAnswered }
            }
            let late = try await refuseAtOnce(user, product, system)
            try await stall.end()

            var orders = Set(late.compactMap(\.order))
            for client in clients {
                try #require(try await client.wait(within: .seconds(20)), "an order was never answered")
                if client.statuses == [201] {
                    orders.insert(try JSONDecoder().decode(Order.self, from: Data(client.body.utf8)).id)
                } else {
                    try client.expectUnavailable()
                }
            }
            print("\(orders.count) orders of \(Self.crowd + late.count) were accepted")
            #expect(orders.count < Self.crowd)
            let found = Set(try await system.rows(Statements.orders).map { try $0.get("id", as: String.self) })
            #expect(found == orders)
            #expect(try await system.product(product.id).stock == 10_000 - Int64(orders.count))

            // A 503 is not remembered: with the same key the order is now done.
            for (number, answer) in late.enumerated() where answer.order == nil {
                let key = ["idempotency-key": "late-\(number)"]
                let again = try await system.placeOrder(user, [(product.id, 1)], headers: key)
                #expect((again.status, again.header("idempotency-replayed")) == (201, nil), "\(again.body)")
            }
        }
    }

    /// Orders one after another while the queue is full; a machine that is too slow to fill it has nothing to measure.
    private func refuseAtOnce(_ user: Int64, _ product: Product, _ system: System) async throws -> [Late] {
        var late: [Late] = []
        var times: [Duration] = []
        while late.count < 15 {
            let key = ["idempotency-key": "late-\(late.count)"]
            let start = ContinuousClock.now
            let answer = try await system.placeOrder(user, [(product.id, 1)], headers: key)
            let time = start.duration(to: .now)
            guard answer.status == 503 else {
                late.append(Late(order: try answer.decoded(as: Order.self).id))
                break
            }
            late.append(Late(order: nil))
            #expect(answer.header("retry-after").flatMap { Int($0) } ?? 0 > 0)
            let problem: Problem = try answer.decoded()
            #expect(["overloaded", "database_unavailable"].contains(problem.code))
            guard problem.detail.hasPrefix("too many orders are waiting") else { break }
            times.append(time)
        }
        times.sort()
        if let median = times.dropFirst(times.count / 2).first {
            print("\(times.count) refused at once in \(median) (median), \(times[times.count - 1]) at most")
            #expect(median < .seconds(1))
        } else {
            print("the queue was not full")
        }
        return late
    }

    /// One of those who came when the queue was full, with the order that was taken all the same.
    private struct Late {
        let order: String?
    }

    private enum Statements {
        static let orders = SQLStatement("overload_orders", "SELECT id::text AS id FROM orders")
    }
}

/// Somebody else's lock on a product, behind which the engine's batch waits.
private struct Stall {
    private static let lock = SQLStatement("stall_lock", "SELECT id FROM products WHERE id = $1 FOR UPDATE")
    private let connection: PostgresConnection

    init(of product: Int64, _ system: System) async throws {
        let deadline = ContinuousClock.now + .seconds(10)
        connection = try await PostgresConnection.connect(
            PostgresConfiguration(url: system.servers.databaseURL(as: "jumun_owner"), applicationName: "stall"),
            deadline: deadline
        )
        _ = try await connection.query(.begin, deadline: deadline)
        _ = try await connection.query(Self.lock, [.int64(product)], deadline: deadline)
    }

    func end() async throws {
        _ = try await connection.query(.rollback, deadline: .now + .seconds(10))
        await connection.close()
    }
}

extension RawConnection {
    fileprivate func order(_ product: Int64, by user: Int64) {
        let body = #"{"userId":\#(user),"items":[{"productId":\#(product),"quantity":1}]}"#
        send(
            "POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
    }

    fileprivate var isAnswered: Bool {
        receive()
        return !received.isEmpty
    }

    /// Refused by the queue, or given up by the engine when the lock was held for too long; nothing was done.
    fileprivate func expectUnavailable() throws {
        #expect(statuses == [503], "\(text)")
        let code = try JSONDecoder().decode(Problem.self, from: Data(body.utf8)).code
        #expect(["overloaded", "database_unavailable"].contains(code), "\(text)")
        #expect(text.contains(/\r\n[Rr]etry-[Aa]fter: [1-9]\d*\r\n/), "\(text)")
    }
}

/// The limit of open files of the test's process.
private enum FileLimit {
    static func raise(for connections: Int) {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard unsafe getrlimit(resource, &limit) == 0 else { return }
        limit.rlim_cur = min(limit.rlim_max, max(limit.rlim_cur, rlim_t(connections + 1_000)))
        unsafe _ = setrlimit(resource, &limit)
    }
}
