import FoundationEssentials
import OrderDomain
import Postgres
import TestSupport
import Testing

@testable import OrderStore

@Suite("Parked events", .timeLimit(.minutes(2)))
struct ParkedEventTests {
    private static let now = Date(timeIntervalSince1970: 1_800_000_000)

    /// Parks events of orders of their own, a second after another; returns their ids, the longest waiting first.
    private func park(_ count: Int, on connection: PostgresConnection) async throws -> [UUID] {
        let ids = (0..<count).map { _ in UUID() }
        for (number, id) in ids.enumerated() {
            try await connection.execute(
                script: """
                    INSERT INTO outbox_parked
                        (event_id, id, shard, order_id, sequence, type, occurred_at, data, reason, parked_at)
                    VALUES ('\(id)', \(number + 1), 0, gen_random_uuid(), 1, 'order.paid.v1', now(),
                        '{"a":"한"}', 'too large', to_timestamp(\(1_800_000_000 + number)))
                    """,
                deadline: .now + Shop.timeout
            )
        }
        return ids
    }

    @Test("a redrive gives back what is chosen, notes it, gives nothing back twice, and another one does")
    func redrive() async throws {
        try await Shop.withShop { shop in
            let connection = try await shop.connect()
            let deadline = ContinuousClock.now + Shop.timeout
            let ids = try await park(3, on: connection)
            func parked(
                _ selection: OutboxStore.ParkedSelection = .all,
                exceptOf redrive: String? = nil
            ) async throws -> [UUID] {
                try await OutboxStore.parked(
                    selection,
                    limit: 10,
                    exceptOf: redrive,
                    on: connection,
                    deadline: deadline
                ).map(\.eventID)
            }
            #expect(try await parked() == ids)
            #expect(try await parked(.event(ids[1])) == [ids[1]])
            #expect(try await parked(.event(UUID())).isEmpty)
            for id in ["r", "s"] {
                _ = try await RedriveStore.begin(
                    id,
                    selection: "parked --all",
                    requestedBy: "mina",
                    at: Self.now,
                    on: connection,
                    deadline: deadline
                )
            }
            func unpark(_ events: [UUID], in redrive: String) async throws -> [UUID] {
                try await OutboxStore.unpark(events, in: redrive, at: Self.now, on: connection, deadline: deadline)
            }
            #expect(try await unpark([ids[0], UUID()], in: "r") == [ids[0]])
            #expect(try await unpark([ids[0]], in: "s").isEmpty)
            #expect(try await parked() == [ids[1], ids[2]])
            let noted = try await connection.query(
                SQLStatement("test_noted", "SELECT redrive_id, event_id FROM redriven_events"),
                deadline: deadline
            )
            #expect(try noted.map { try $0.get("redrive_id", as: String.self) } == ["r"])
            #expect(try noted.map { try $0.get("event_id", as: UUID.self) } == [ids[0]])

            // Refused by the broker once more.
            try await connection.execute(script: "UPDATE outbox_parked SET redriven_at = NULL", deadline: deadline)
            #expect(try await parked(exceptOf: "r") == [ids[1], ids[2]])
            #expect(try await parked(exceptOf: "s") == ids)
            await connection.close()
        }
    }

    @Test("what is given up waits no longer, keeps its row with who did it, and is not given back")
    func purge() async throws {
        try await Shop.withShop { shop in
            let connection = try await shop.connect()
            let deadline = ContinuousClock.now + Shop.timeout
            let ids = try await park(2, on: connection)
            func purge(_ events: [UUID]) async throws -> [UUID] {
                try await OutboxStore.purgeParked(events, by: "mina", at: Self.now, on: connection, deadline: deadline)
            }
            #expect(try await purge([ids[0], UUID()]) == [ids[0]])
            #expect(try await purge([ids[0]]).isEmpty)
            #expect(try await OutboxStore.parkedCount(on: connection, deadline: deadline) == 1)
            #expect(try await OutboxStore.unpark([ids[0]], at: Self.now, on: connection, deadline: deadline).isEmpty)
            let rows = try await connection.query(
                SQLStatement("test_purged", "SELECT event_id FROM outbox_parked WHERE purged_by = 'mina'"),
                deadline: deadline
            )
            #expect(try rows.map { try $0.get("event_id", as: UUID.self) } == [ids[0]])
            #expect(try await OutboxStore.parkedEvent(ids[0], on: connection, deadline: deadline) == nil)
            #expect(try await OutboxStore.parkedEvent(ids[1], on: connection, deadline: deadline)?.id == ids[1])
            await connection.close()
        }
    }

    @Test("an event is not held by a parked one of its order, but by one that was given back; the trail says parked")
    func holdsNothing() async throws {
        try await Shop.withShop { shop in
            let connection = try await shop.connect()
            let deadline = ContinuousClock.now + Shop.timeout
            let (order, event) = (OrderID(.version7()), UUID())
            try await connection.execute(
                script: """
                    INSERT INTO users (name, email, created_at, updated_at) VALUES ('M', 'm@example.com', now(), now());
                    INSERT INTO orders SELECT '\(order.text)', id, 'PAID', 1, 1, now(), now() FROM users;
                    INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
                    VALUES (0, '\(event)', '\(order.text)', 1, 'order.paid.v1', now(), '{}');
                    """,
                deadline: deadline
            )
            let store = DeliveryStore(shop.pool)
            let second = DeliveryStore.EventPlace(orderID: order.uuid, sequence: 2)
            func held() async throws -> Bool { try await !store.held(among: [second], deadline: deadline).isEmpty }
            func trail() async throws -> EventTrail? {
                try await DeliveryTrail(shop.pool).events(of: order, deadline: deadline)?.first
            }
            #expect(try await held())
            #expect(try await trail()?.status == .pending)
            try await connection.execute(
                script: """
                    INSERT INTO outbox_parked
                        (event_id, id, shard, order_id, sequence, type, occurred_at, data, reason, parked_at)
                    SELECT event_id, id, shard, order_id, sequence, type, occurred_at, data, 'too large', now()
                    FROM outbox_events
                    """,
                deadline: deadline
            )
            #expect(try await !held())
            #expect(try await trail()?.status == .parked)
            #expect(try await trail()?.parking?.reason == "too large")
            _ = try await OutboxStore.unpark([event], at: Self.now, on: connection, deadline: deadline)
            #expect(try await held())
            #expect(try await trail()?.status == .pending)
            try await connection.execute(script: "UPDATE outbox_parked SET redriven_at = NULL", deadline: deadline)
            _ = try await OutboxStore.purgeParked([event], by: "mina", at: Self.now, on: connection, deadline: deadline)
            #expect(try await !held())
            let parking = try #require(try await trail()?.parking)
            #expect(parking.purgedBy == "mina" && parking.purgedAt == Self.now)
            await connection.close()
        }
    }
}
