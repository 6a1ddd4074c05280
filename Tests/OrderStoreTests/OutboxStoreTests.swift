import Foundation
import OrderDomain
import Postgres
import TestSupport
import Testing

@testable import OrderStore

/// A relay of a test: one connection, and the shards that it has taken.
private struct TestRelay {
    let connection: PostgresConnection
    var cursors: [Int16: OutboxStore.Cursor] = [:]
    /// What a test's clock says; the relay's own rows go into this time's slot.
    var now = Date()

    private var deadline: ContinuousClock.Instant { .now + Shop.timeout }

    init(_ shop: Shop, as role: String? = nil) async throws {
        connection = try await shop.connect()
        if let role { try await connection.execute(script: "SET ROLE \(role)", deadline: .now + Shop.timeout) }
        try await OutboxStore.enlist(connection, deadline: .now + Shop.timeout)
    }

    mutating func take(_ shards: [Int16]) async throws {
        for cursor in try await OutboxStore.take(shards, at: now, on: connection, deadline: deadline) {
            cursors[cursor.shard] = cursor
        }
    }

    /// Confirms what is visible now, and returns the events in the order of sending.
    mutating func relay(limit: Int = 500) async throws -> [OutboxEvent] {
        var sent: [OutboxEvent] = []
        var isDone = false
        while !isDone {
            let views = try await OutboxStore.look(
                Array(cursors.values),
                limit: limit,
                on: connection,
                deadline: deadline
            )
            isDone = views.allSatisfy { $0.places.count < limit }
            let entries = try await OutboxStore.events(
                at: views.flatMap(\.places),
                on: connection,
                deadline: deadline
            )
            sent += entries.map(\.event)
            for view in views {
                guard var cursor = cursors[view.shard] else { continue }
                cursor.target = view.target
                if let last = view.places.last { (cursor.afterID, cursor.lastID) = (last.id, last.id) }
                if view.places.count < limit { cursor.finish() }
                cursor.number += 1
                cursors[view.shard] = cursor
            }
            try await save()
        }
        return sent
    }

    private func save(parking parked: [(entry: OutboxStore.Entry, reason: String)] = []) async throws {
        try await OutboxStore.save(
            Array(cursors.values),
            parking: parked,
            at: now,
            on: connection,
            deadline: deadline
        )
    }

    /// Notes where the shards are once more, with the next numbers.
    mutating func note(parking parked: [(entry: OutboxStore.Entry, reason: String)] = []) async throws {
        for shard in cursors.keys { cursors[shard]?.number += 1 }
        try await save(parking: parked)
    }

    func rotate() async throws -> Int16? {
        try await OutboxStore.rotate(at: now, on: connection, deadline: deadline)
    }

    func pending() async throws -> Int64 {
        try await OutboxStore.pending(on: connection, deadline: deadline).count
    }
}

@Suite("The outbox", .timeLimit(.minutes(2)))
struct OutboxStoreTests {
    private static let allShards = Array(OutboxStore.shards)
    /// When the slot that is filled now has become the oldest.
    private static let untilOldest: TimeInterval = 18 * 3_600

    @Test("a late commit comes in a later batch and holds up nobody, and nothing comes twice")
    func skipsNothing() async throws {
        try await Shop.withShop { shop in
            let late = try await shop.connect()
            try await run("BEGIN; " + insert(sequences: [1]), late)
            var relay = try await TestRelay(shop)
            try await relay.take([0])
            try await run(insert(sequences: [2]), relay.connection)
            #expect(try await relay.relay().map(\.sequence) == [2])
            #expect(try await relay.pending() == 0)
            try await run(insert(sequences: [3]), relay.connection)
            #expect(try await relay.relay().map(\.sequence) == [3])
            try await run("COMMIT", late)
            #expect(try await relay.pending() == 1)
            #expect(try await relay.relay().map(\.sequence) == [1])
            #expect(try await relay.relay().isEmpty)
            #expect(try await relay.pending() == 0)
        }
    }

    @Test("a backlog comes in pages, each shard in the order of its ids")
    func pages() async throws {
        try await Shop.withShop { shop in
            var relay = try await TestRelay(shop)
            try await relay.take([0, 5])
            let sequences = Array(1...25)
            try await run(insert(sequences: sequences) + "; " + insert(shard: 5, sequences: [7, 8]), relay.connection)
            let sent = try await relay.relay(limit: 10)
            #expect(sent.map(\.sequence).filter { $0 != 7 && $0 != 8 } == sequences.filter { $0 != 7 && $0 != 8 })
            #expect(sent.count == 27)
            #expect(try await relay.relay(limit: 10).isEmpty)
        }
    }

    @Test("a change comes after the one before it, though its transaction has the lower id, however small the pages")
    func keepsOrderOfChanges() async throws {
        try await Shop.withShop { shop in
            var relay = try await TestRelay(shop)
            try await relay.take([0])
            // It has its id, and waits for the order's lock.
            let late = try await shop.connect()
            try await run("BEGIN; SELECT pg_current_xact_id()", late)
            for sequence in 1...20 { try await run(insert(sequences: [sequence]), relay.connection) }
            try await run(insert(sequences: [21]) + "; COMMIT", late)
            for sequence in 22...30 { try await run(insert(sequences: [sequence]), relay.connection) }
            #expect(try await relay.relay(limit: 4).map(\.sequence) == Array(1...30))
        }
    }

    @Test("a shard has one owner at a time, relays count each other, and a lost connection gives its shards back")
    func locksShards() async throws {
        try await Shop.withShop { shop in
            var first = try await TestRelay(shop)
            var second = try await TestRelay(shop)
            try await first.take([3, 4])
            try await second.take([4, 5])
            #expect(Set(first.cursors.keys) == [3, 4])
            #expect(Set(second.cursors.keys) == [5])
            let deadline = ContinuousClock.now + Shop.timeout
            let relays = try await OutboxStore.relays(on: second.connection, deadline: deadline)
            #expect(relays.count == 2)
            #expect(relays.freeShards == [0, 1, 2, 6, 7])
            await first.connection.close()
            while second.cursors.count < 3, ContinuousClock.now < deadline { try await second.take([3, 4]) }
            #expect(Set(second.cursors.keys) == [3, 4, 5])
            #expect(try await OutboxStore.relays(on: second.connection, deadline: deadline).count == 1)
            try await OutboxStore.resign(second.connection, deadline: deadline)
            let none = try await OutboxStore.relays(on: second.connection, deadline: deadline)
            #expect(none.count == 0)
            #expect(none.freeShards == Self.allShards)
        }
    }

    @Test("a relay whose session the server has ended cannot confirm, and another one sends the same again")
    func fencesLostOwner() async throws {
        try await Shop.withShop { shop in
            var lost = try await TestRelay(shop)
            try await lost.take([0])
            try await run(insert(sequences: [1]), shop)
            let pid = SQLStatement("test_pid", "SELECT pg_backend_pid() AS pid")
            let rows = try await lost.connection.query(pid, deadline: .now + Shop.timeout)
            try await run("SELECT pg_terminate_backend(\(rows[0].get("pid", as: Int32.self)), 5000)", shop)
            var next = try await TestRelay(shop)
            try await next.take([0])
            await #expect(throws: PostgresError.self) { try await lost.relay() }
            #expect(try await next.relay().map(\.sequence) == [1])
        }
    }

    @Test("the relay's role can do all that a relay does, and many rounds leave no dead tuples behind an old reader")
    func leavesNoDeadTuples() async throws {
        try await Shop.withShop { shop in
            let reader = try await shop.connect()
            try await run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM orders", reader)
            var relay = try await TestRelay(shop, as: "jumun_api")
            try await relay.take(Self.allShards)
            for number in 1...200 {
                try await run(insert(shard: Int16(number % 8), sequences: [number]), relay.connection)
                #expect(try await relay.relay().count == 1)
            }
            #expect(try await deadTuples(shop) == 0)
            // As in 18 hours, when what was written now is in the oldest slot; the old reader has read none of it.
            relay.now += Self.untilOldest
            try await relay.note()
            #expect(try await relay.rotate() != nil)
            #expect(try await deadTuples(shop) == 0)
            await reader.close()
        }
    }

    @Test("a slot is emptied when every event in it is confirmed and old, and not before")
    func rotates() async throws {
        try await Shop.withShop { shop in
            var relay = try await TestRelay(shop)
            try await relay.take(Self.allShards)
            try await run(insert(shard: 2, sequences: [1]), shop)
            relay.now += Self.untilOldest
            // In another slot already, but nothing is confirmed.
            try await relay.note()
            #expect(try await relay.rotate() == nil)
            #expect(try await count("outbox_events", shop) == 1)

            #expect(try await relay.relay().count == 1)
            relay.now -= Self.untilOldest
            #expect(try await relay.rotate() == nil)
            relay.now += Self.untilOldest
            #expect(try await relay.rotate() != nil)
            #expect(try await count("outbox_events", shop) == 0)
            #expect(try await count("outbox_rotations", shop) == 1)
            // Each shard still knows where it is.
            #expect(try await count("(SELECT DISTINCT shard FROM outbox_acks)", shop) == 8)
            #expect(try await relay.rotate() == nil)
            try await run(insert(shard: 2, sequences: [2]), shop)
            #expect(try await relay.relay().map(\.sequence) == [2])
        }
    }

    @Test("a slot waits for a transaction that was open when its shards were confirmed, also once it has committed")
    func rotatesBehindSlowTransaction() async throws {
        try await Shop.withShop { shop in
            var relay = try await TestRelay(shop)
            try await relay.take(Self.allShards)
            let slow = try await shop.connect()
            try await run("BEGIN; " + insert(sequences: [1]), slow)
            try await run(insert(sequences: [2]), shop)
            #expect(try await relay.relay().map(\.sequence) == [2])
            relay.now += Self.untilOldest
            try await relay.note()
            // The transaction's own lock is in the way.
            let began = ContinuousClock.now
            #expect(try await relay.rotate() == nil)
            #expect(began.duration(to: .now) < .seconds(2))
            try await run("COMMIT", slow)
            #expect(try await relay.rotate() == nil)
            #expect(try await relay.relay().map(\.sequence) == [1])
            #expect(try await relay.rotate() != nil)
        }
    }

    @Test("a slot that somebody reads is left for the next time, and nobody waits behind the attempt")
    func rotatesBehindReader() async throws {
        try await Shop.withShop { shop in
            var relay = try await TestRelay(shop)
            try await relay.take(Self.allShards)
            try await run(insert(sequences: [1]), shop)
            relay.now += Self.untilOldest
            #expect(try await relay.relay().count == 1)
            let reader = try await shop.connect()
            try await run("BEGIN; LOCK TABLE outbox_events IN ACCESS SHARE MODE", reader)
            #expect(try await relay.rotate() == nil)
            // Nobody waits behind the relay's attempt.
            #expect(try await count("outbox_events", shop) == 1)
            try await run("COMMIT", reader)
            #expect(try await relay.rotate() != nil)
        }
    }

    @Test("after a dump was restored into another cluster, what was not confirmed comes, and what comes after it")
    func beginsAnew() async throws {
        try await Shop.withShop { shop in
            // As a dump leaves them: transaction ids far beyond those of this cluster. The row with id 2 was open when
            // the shard was confirmed up to id 3; id 4 came after that; id 5 was sent in the middle of a batch.
            try await run(
                """
                INSERT INTO outbox_events (id, txid, shard, event_id, order_id, sequence, type, occurred_at, data)
                OVERRIDING SYSTEM VALUE
                SELECT id, txid::text::xid8, 0, gen_random_uuid(), gen_random_uuid(), id, 'order.paid.v1', now(), '{}'
                FROM (VALUES (1, 900000000), (2, 900000001), (3, 900000002), (5, 900000003), (6, 900000003))
                    AS old (id, txid);
                SELECT setval(pg_get_serial_sequence('outbox_events', 'id'), 10);
                INSERT INTO outbox_acks (shard, slot, n, base, target, after_id, last_id, epoch, at)
                VALUES (0, outbox_slot(now()), 2, '900000001:900000003:900000001', '900000001:900000004:900000001',
                        5, 5, 'another cluster', now())
                """,
                shop
            )
            // An order of the new cluster, before its first relay; its transaction id is lower than all of those.
            try await run(insert(sequences: [11]), shop)
            var relay = try await TestRelay(shop, as: "jumun_api")
            try await relay.take(Self.allShards)
            #expect(try await relay.pending() == 3)
            #expect(try await relay.relay().map(\.sequence) == [2, 6, 11])
            try await run(insert(sequences: [12]), shop)
            #expect(try await relay.relay().map(\.sequence) == [12])
            #expect(try await relay.pending() == 0)
            // Begun anew once: nothing comes again.
            await relay.connection.close()
            var next = try await TestRelay(shop)
            while next.cursors.isEmpty { try await next.take([0]) }
            #expect(try await next.relay().isEmpty)
            // Without any confirmation nothing is confirmed.
            await next.connection.close()
            try await run("TRUNCATE outbox_acks", shop)
            var last = try await TestRelay(shop)
            while last.cursors.isEmpty { try await last.take([0]) }
            #expect(try await last.relay().map(\.sequence) == [1, 2, 3, 5, 6, 11, 12])
        }
    }

    @Test("a parked event is passed over, and comes again once it is given back, also when its slot is gone")
    func parks() async throws {
        try await Shop.withShop { shop in
            var relay = try await TestRelay(shop, as: "jumun_api")
            try await relay.take(Self.allShards)
            try await run(insert(sequences: [1, 2]), shop)
            let deadline = ContinuousClock.now + Shop.timeout
            let views = try await OutboxStore.look(
                Array(relay.cursors.values),
                limit: 10,
                on: relay.connection,
                deadline: deadline
            )
            let entries = try await OutboxStore.events(
                at: views.flatMap(\.places),
                on: relay.connection,
                deadline: deadline
            )
            let first = try #require(entries.first)
            #expect(try await relay.relay().count == 2)
            try await relay.note(parking: [(first, "too large")])
            let owner = try await shop.connect()
            let parked = try await OutboxStore.parked(limit: 10, on: owner, deadline: deadline)
            #expect(parked.map(\.eventID) == [first.event.id])
            #expect(parked.map(\.reason) == ["too large"])
            #expect(parked.map(\.dataBytes) == [first.event.data.utf8.count])
            let whole = try await OutboxStore.parkedEvent(first.event.id, on: owner, deadline: deadline)
            #expect(whole == first.event)
            #expect(try await OutboxStore.pending(on: owner, deadline: deadline).parked == 1)

            let ids = [first.event.id, UUID()]
            #expect(try await OutboxStore.unpark(ids, at: .now, on: owner, deadline: deadline) == [first.event.id])
            #expect(try await OutboxStore.unpark(ids, at: .now, on: owner, deadline: deadline) == [])
            #expect(try await relay.relay() == [first.event])

            try await relay.note(parking: [(first, "still too large")])
            relay.now += Self.untilOldest
            try await relay.note()
            #expect(try await relay.rotate() != nil)
            #expect(try await OutboxStore.unpark(ids, at: .now, on: owner, deadline: deadline) == [first.event.id])
            #expect(try await relay.relay() == [first.event])
            await owner.close()
        }
    }

    private func run(_ script: String, _ connection: PostgresConnection) async throws {
        try await connection.execute(script: script, deadline: .now + Shop.timeout)
    }

    private func run(_ script: String, _ shop: Shop) async throws {
        let connection = try await shop.connect()
        try await run(script, connection)
        await connection.close()
    }

    private func count(_ table: String, _ shop: Shop) async throws -> Int64 {
        try await number("SELECT count(*) FROM \(table) AS counted", shop)
    }

    /// Of the tables that every round writes.
    private func deadTuples(_ shop: Shop) async throws -> Int64 {
        try await run("SELECT pg_stat_force_next_flush()", shop)
        return try await number(
            "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname ~ '^outbox_(events|acks)'",
            shop
        )
    }

    /// Statements are literals; what a test asks goes through a view of its session.
    private func number(_ query: String, _ shop: Shop) async throws -> Int64 {
        let connection = try await shop.connect()
        try await run("CREATE TEMP VIEW answer (number) AS \(query)", connection)
        let statement = SQLStatement("test_number", "SELECT number::bigint AS number FROM answer")
        let rows = try await connection.query(statement, deadline: .now + Shop.timeout)
        await connection.close()
        return try rows[0].get("number")
    }

    private func insert(shard: Int16 = 0, sequences: [Int]) -> String {
        """
        INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
        SELECT \(shard), gen_random_uuid(), gen_random_uuid(), sequence, 'order.paid.v1', now(), '{}'
        FROM unnest(ARRAY\(sequences)) AS sequence
        """
    }
}
