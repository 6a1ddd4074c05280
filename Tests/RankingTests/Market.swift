import Foundation
import Logging
import OrderDomain
import OrderStore
import Postgres
import RankingBoard
import Redis
import TestSupport

let minute: TimeInterval = 60
let hour: TimeInterval = 3_600

/// A moment that is a full hour in UTC, and in Seoul.
let noon = Date(timeIntervalSince1970: 1_780_488_000)

struct Missing: Error, CustomStringConvertible {
    let description: String
}

/// A shop's ledger and a Redis database, with what a test does to them.
struct Market: Sendable {
    /// What stands in the ledger for one product of one order.
    struct Sale: Hashable, Sendable {
        let order: UUID
        let product: Int64
        let quantity: Int32
        let amount: Int64
        let soldAt: Date

        init(_ product: Int64, _ quantity: Int32, price: Int64 = 100, at soldAt: Date) {
            order = UUID()
            self.product = product
            self.quantity = quantity
            amount = Int64(quantity) * price
            self.soldAt = soldAt
        }
    }

    /// Databases of Redis are few; this target's tests run one after another.
    private static let redisDatabase = 6

    let shop: Shop
    let database: PostgresConfiguration
    let redis: RedisClient
    var board: RankingBoard { RankingBoard(redis) }

    static func with(_ test: (Market) async throws -> Void) async throws {
        try await Shop.withShop { shop in
            let name = URLComponents(string: shop.url)?.path.dropFirst() ?? ""
            // What a power cut would lose is none of these tests' business.
            try await TestDatabase.administer("ALTER DATABASE \(name) SET synchronous_commit = off")
            let redis = RedisClient(configuration: try redisConfiguration(), logger: quiet)
            _ = try await redis.send(["FLUSHDB"], deadline: .now + Shop.timeout)
            let market = Market(
                shop: shop,
                database: try PostgresConfiguration(url: shop.url, applicationName: "ranking-tests"),
                redis: redis
            )
            try await test(market)
            await redis.close()
        }
    }

    static let quiet = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }

    static func redisConfiguration() throws -> RedisConfiguration {
        guard var url = ProcessInfo.processInfo.environment["JUMUN_TEST_REDIS_URL"].flatMap(URLComponents.init) else {
            throw Missing(
                description: "JUMUN_TEST_REDIS_URL is not set: run the tests with `make test`"
            )
        }
        url.path = "/\(redisDatabase)"
        return try RedisConfiguration(url: url.string ?? "")
    }

    static func sell(_ sales: [Sale], on connection: PostgresConnection) async throws {
        try await insert(sales, "SALE", 1, on: connection)
    }

    /// A cancellation carries the time of its sale.
    static func cancel(_ sales: [Sale], on connection: PostgresConnection) async throws {
        try await insert(sales, "CANCEL", -1, on: connection)
    }

    private static func insert(
        _ sales: [Sale],
        _ kind: String,
        _ sign: Int32,
        on connection: PostgresConnection
    ) async throws {
        _ = try await connection.query(
            insertSales,
            [
                .text(kind), .uuidArray(sales.map(\.order)), .int64Array(sales.map(\.product)),
                .int32Array(sales.map { sign * $0.quantity }), .int64Array(sales.map { Int64(sign) * $0.amount }),
                .timestampArray(sales.map(\.soldAt)),
            ],
            deadline: .now + Shop.timeout
        )
    }

    func sell(_ sales: Sale...) async throws {
        try await shop.pool.withConnection(deadline: .now + Shop.timeout) { try await Market.sell(sales, on: $0) }
    }

    func cancel(_ sales: Sale...) async throws {
        try await shop.pool.withConnection(deadline: .now + Shop.timeout) { try await Market.cancel(sales, on: $0) }
    }

    /// A run on a connection of its own.
    func run(
        at time: Date,
        _ mode: RankingWindow.Mode = .rolling,
        recounts: Bool = false,
        fence: Int64? = nil
    ) async throws -> RankingStore.Outcome {
        let connection = try await shop.connect()
        let outcome = try await RankingStore.run(
            RankingStore.Request(at: time, mode: mode, trigger: .manual, recounts: recounts, fence: fence),
            on: connection,
            in: database,
            deadline: .now + Shop.timeout
        )
        await connection.close()
        return outcome
    }

    func verify() async throws -> RankingStore.Verification {
        let connection = try await shop.connect()
        let verification = try await RankingStore.verify(on: connection, deadline: .now + Shop.timeout)
        await connection.close()
        return verification
    }

    func execute(_ script: String) async throws {
        try await shop.pool.withConnection(deadline: .now + Shop.timeout) { connection in
            try await connection.execute(script: script, deadline: .now + Shop.timeout)
        }
    }

    /// Waits until somebody waits for an advisory lock.
    func waitForWaiter(_ key: Int64) async throws {
        let deadline = ContinuousClock.now + Shop.timeout
        while try await !shop.pool.query(Market.findWaiter, [.int64(key)], deadline: deadline)[0].get("is_waiting") {
            guard ContinuousClock.now < deadline else { throw Missing(description: "nobody waits for lock \(key)") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    private static let findWaiter = SQLStatement(
        "test_find_waiter",
        """
        SELECT EXISTS (
            SELECT FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted AND (classid::bigint << 32) + objid::bigint = $1
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        ) AS is_waiting
        """
    )

    private static let insertSales = SQLStatement(
        "test_insert_sales",
        """
        INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
        SELECT order_id, product_id, $1, quantity, amount, sold_at
        FROM unnest($2::uuid[], $3::bigint[], $4::integer[], $5::bigint[], $6::timestamptz[])
            AS sale (order_id, product_id, quantity, amount, sold_at)
        """
    )
}

extension RankingStore.Outcome {
    /// Product and quantity of each place.
    var quantities: [[Int64]] {
        (lists[.quantity] ?? []).map { [$0.productID.rawValue, $0.quantity] }
    }
}
