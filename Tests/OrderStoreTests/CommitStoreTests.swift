import FoundationEssentials
import OrderDomain
import Postgres
import TestSupport
import Testing

@testable import OrderStore

@Suite("A batch in its two round trips", .timeLimit(.minutes(2)))
struct CommitStoreTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    @Test("orders and charges are written whole and read back as they were decided")
    func writesAndReads() async throws {
        try await Shop.withShop { shop in
            let (user, product) = try await stock(shop, pieces: 10)
            let charge = charge(user, 1_000)
            let order = order(user, [(product, 3)])
            let adjudication = try await commit([charge, order], shop)
            #expect(adjudication.orders.count == 1)
            let placed = try #require(adjudication.orders.first)
            let read = try await OrderReader(shop.pool).find(placed.id, deadline: .now + Shop.timeout)
            #expect(read == placed)
            let account = try await UserStore(shop.pool).find(user, deadline: .now + Shop.timeout)
            #expect(account?.balance == Money(minorUnits: 700))
            #expect(account?.version == 2)
            let left = try await ProductStore(shop.pool).find(product, deadline: .now + Shop.timeout)
            #expect(left?.stock == 7)
            let history = try await UserStore(shop.pool).history(
                of: user,
                kind: nil,
                olderThan: nil,
                limit: 10,
                deadline: .now + Shop.timeout
            )
            #expect(history == adjudication.entries.reversed())
        }
    }

    @Test("when a commit returns, the server's log of it is on the disk")
    func isDurable() async throws {
        try await Shop.withShop { shop in
            let (user, _) = try await stock(shop, pieces: 1)
            var durable = 0
            for _ in 0..<20 {
                _ = try await commit([charge(user, 1)], shop)
                let rows = try await shop.pool.query(Self.unflushedBytes, deadline: .now + Shop.timeout)
                if try rows[0].get("bytes", as: Int64.self) == 0 { durable += 1 }
            }
            // The server itself writes something now and then, for which nobody waits.
            #expect(durable >= 18)
        }
    }

    private static let unflushedBytes = SQLStatement(
        "commit_unflushed_bytes",
        "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn())::bigint AS bytes"
    )

    @Test("a balance that moved between the round trips aborts the whole batch")
    func detectsMovedBalance() async throws {
        try await Shop.withShop { shop in
            let (user, product) = try await stock(shop, pieces: 10)
            _ = try await commit([charge(user, 1_000)], shop)
            let batch = [order(user, [(product, 1)])]
            let connection = try await shop.connect()
            let deadline = ContinuousClock.now + Shop.timeout
            let open = try await CommitStore.open(
                batch,
                lockAccounts: false,
                keysSince: now,
                on: connection,
                deadline: deadline
            )
            _ = try await commit([charge(user, 5)], shop)
            await #expect(throws: CommitStore.Conflict.self) {
                try await CommitStore.commit(
                    adjudicate(batch, open.snapshot),
                    events: [],
                    answers: [],
                    at: now,
                    keysSince: now,
                    on: connection,
                    deadline: deadline
                )
            }
            await connection.close()
            let orders = try await OrderReader(shop.pool).list(
                user: user,
                status: nil,
                olderThan: nil,
                limit: 10,
                deadline: deadline
            )
            #expect(orders.isEmpty)
            let left = try await ProductStore(shop.pool).find(product, deadline: deadline)
            #expect(left?.stock == 10)
        }
    }

    @Test("a try that has locked the balances cannot be overtaken: who comes meanwhile waits, and has the conflict")
    func locksBalances() async throws {
        try await Shop.withShop { shop in
            let (user, product) = try await stock(shop, pieces: 10)
            _ = try await commit([charge(user, 1_000)], shop)
            let batch = [order(user, [(product, 1)])]
            let connection = try await shop.connect()
            let deadline = ContinuousClock.now + Shop.timeout
            let open = try await CommitStore.open(
                batch,
                lockAccounts: true,
                keysSince: now,
                on: connection,
                deadline: deadline
            )
            let late = Task { try await commit([charge(user, 5)], shop) }
            var isWaiting = false
            while !isWaiting, ContinuousClock.now < deadline {
                isWaiting = try await shop.pool.query(Self.waitingBackends, deadline: deadline)[0].get("are_there")
            }
            #expect(isWaiting)
            try await CommitStore.commit(
                adjudicate(batch, open.snapshot),
                events: [],
                answers: [],
                at: now,
                keysSince: now,
                on: connection,
                deadline: deadline
            )
            await #expect(throws: CommitStore.Conflict.self) { try await late.value }
            await connection.close()
        }
    }

    private static let waitingBackends = SQLStatement(
        "commit_waiting_backends",
        """
        SELECT count(*) > 0 AS are_there
        FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
    )

    @Test("a key that another transaction took meanwhile is a conflict, an expired one is written over")
    func guardsKeys() async throws {
        try await Shop.withShop { shop in
            let (user, _) = try await stock(shop, pieces: 1)
            let claim = IdempotencyClaim(
                key: IdempotencyKey(userID: user, key: "k"),
                fingerprint: Array(repeating: 7, count: 32)
            )
            let answer = RememberedAnswer(status: 201, location: nil, contentType: "application/json", body: "{}")
            try await remember(claim, answer, at: now, keysSince: now - 60, shop)
            await #expect(throws: CommitStore.Conflict.self) {
                try await remember(claim, answer, at: now + 1, keysSince: now - 60, shop)
            }
            try await remember(claim, answer, at: now + 90, keysSince: now + 30, shop)
        }
    }

    private func stock(_ shop: Shop, pieces: Int64) async throws -> (UserID, ProductID) {
        let deadline = ContinuousClock.now + Shop.timeout
        let user = try await UserStore(shop.pool).create(name: "Mina", email: "m@x.kr", at: now, deadline: deadline)
        let product = try await ProductStore(shop.pool).create(
            name: "first",
            description: nil,
            category: nil,
            price: Money(minorUnits: 100),
            stock: pieces,
            at: now,
            deadline: deadline
        )
        return (user.id, product.id)
    }

    private func charge(_ user: UserID, _ amount: Int64) -> Command {
        .chargeBalance(
            ChargeBalance(
                entryID: .version7(),
                userID: user,
                amount: Money(minorUnits: amount),
                claim: nil,
                at: now
            )
        )
    }

    private func order(_ user: UserID, _ lines: [(ProductID, Int)], at time: Date? = nil) -> Command {
        .placeOrder(
            PlaceOrder(
                orderID: OrderID(.version7()),
                entryID: .version7(),
                userID: user,
                lines: lines.compactMap { product, pieces in
                    Quantity(pieces).map { BasketLine(productID: product, quantity: $0) }
                },
                claim: nil,
                at: time ?? now
            )
        )
    }

    private func commit(_ batch: [Command], _ shop: Shop) async throws -> Adjudication {
        let deadline = ContinuousClock.now + Shop.timeout
        return try await shop.pool.withConnection(deadline: deadline) { connection in
            let open = try await CommitStore.open(
                batch,
                lockAccounts: false,
                keysSince: now,
                on: connection,
                deadline: deadline
            )
            let adjudication = adjudicate(batch, open.snapshot)
            try await CommitStore.commit(
                adjudication,
                events: [],
                answers: [],
                at: now,
                keysSince: now,
                on: connection,
                deadline: deadline
            )
            return adjudication
        }
    }

    private func remember(
        _ claim: IdempotencyClaim,
        _ answer: RememberedAnswer,
        at time: Date,
        keysSince: Date,
        _ shop: Shop
    ) async throws {
        let deadline = ContinuousClock.now + Shop.timeout
        try await shop.pool.withConnection(deadline: deadline) { connection in
            _ = try await connection.query(.begin, deadline: deadline)
            try await CommitStore.commit(
                adjudicate([], Snapshot(shelves: [:], accounts: [:], orders: [:], remembered: [:])),
                events: [],
                answers: [(claim, answer)],
                at: time,
                keysSince: keysSince,
                on: connection,
                deadline: deadline
            )
        }
    }
}
