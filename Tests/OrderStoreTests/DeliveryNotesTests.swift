import FoundationEssentials
import OrderDomain
import Postgres
import TestSupport
import Testing

@testable import OrderStore

@Suite("What is noted of events on their way", .timeLimit(.minutes(2)))
struct DeliveryNotesTests {
    private static let now = Date(timeIntervalSince1970: 1_769_850_300)

    @Test("a redrive knows what it has sent, and tells a copy from before from one that came back")
    func standings() async throws {
        try await Shop.withShop { shop in
            let connection = try await shop.connect()
            let deadline = ContinuousClock.now + Shop.timeout
            func begin(_ id: String, _ selection: String = "--all") async throws -> RedriveStore.Redrive? {
                try await RedriveStore.begin(
                    id,
                    selection: selection,
                    requestedBy: "mina",
                    at: Self.now,
                    on: connection,
                    deadline: deadline
                )
            }
            func candidate(_ event: UUID, last: String? = nil) -> RedriveStore.Candidate {
                .init(eventID: event, orderID: event, lastRedrive: last)
            }
            let (sent, open, delivered) = (UUID(), UUID(), UUID())
            for id in ["a", "b"] { #expect(try await begin(id)?.redriven == 0) }
            try await RedriveStore.record([candidate(sent)], in: "a", at: Self.now, on: connection, deadline: deadline)
            try await connection.execute(
                script: """
                    INSERT INTO event_deliveries
                    VALUES ('\(delivered)', '\(delivered)', 1, 202, 5, now(), now())
                    """,
                deadline: deadline
            )
            func standings(
                _ candidates: [RedriveStore.Candidate],
                in id: String
            ) async throws -> [RedriveStore.Standing] {
                try await RedriveStore.standings(of: candidates, in: id, on: connection, deadline: deadline)
            }
            let letters = [candidate(sent), candidate(open), candidate(delivered), candidate(sent, last: "a")]
            #expect(try await standings(letters, in: "a") == [.sent, .open, .delivered, .cameBack])
            #expect(try await standings(letters, in: "b") == [.open, .open, .delivered, .open])
            // Sent by a, which was not noted.
            #expect(try await standings([candidate(open, last: "a")], in: "a") == [.cameBack])
            #expect(try await standings([candidate(open, last: "a")], in: "b") == [.open])

            // The one that came back was sent by b too, later, and came back again: a has nothing to do with that copy.
            let later = Self.now.addingTimeInterval(1)
            try await RedriveStore.record([candidate(sent)], in: "b", at: later, on: connection, deadline: deadline)
            #expect(try await standings([candidate(sent, last: "b")], in: "a") == [.cameBack])
            #expect(try await standings([candidate(sent, last: "a")], in: "b") == [.sent])

            try await RedriveStore.finish("a", .done, at: later, on: connection, deadline: deadline)
            let done = try #require(try await begin("a"))
            #expect((done.result, done.redriven, done.requestedBy) == (.done, 1, "mina"))
            try await RedriveStore.finish("b", .stopped, at: later, on: connection, deadline: deadline)
            #expect(try await begin("b")?.result == nil)
            #expect(try await begin("b", "--group g")?.selection == "--all")
            let other = try await shop.connect()
            let busy = try await RedriveStore.begin(
                "b",
                selection: "--all",
                requestedBy: "jun",
                at: later,
                on: other,
                deadline: deadline
            )
            #expect(busy == nil)
            await other.close()
            await connection.close()
        }
    }

    @Test("the trail of an order has every event with its attempts and redrives, in order; no order, no trail")
    func trail() async throws {
        try await Shop.withShop { shop in
            let order = OrderID(.version7())
            let (first, second) = (UUID.version7(), UUID.version7())
            let connection = try await shop.connect()
            try await connection.execute(
                script: Self.script(order: order.text, first: first.text, second: second.text),
                deadline: .now + Shop.timeout
            )
            // In a transaction after theirs, whose snapshot sees them.
            try await connection.execute(script: Self.acknowledgement, deadline: .now + Shop.timeout)
            await connection.close()
            let trail = DeliveryTrail(shop.pool)
            let events = try #require(try await trail.events(of: order, deadline: .now + Shop.timeout))
            #expect(events.map(\.type) == ["order.paid.v1", "order.cancelled.v1"])
            #expect(events.map(\.sequence) == [1, 2] && events.map(\.eventID) == [first, second])
            #expect(events.map(\.status) == [.delivered, .deadLettered])
            #expect(events.map(\.confirmedAt) == [Self.now.addingTimeInterval(11), Self.now.addingTimeInterval(11)])
            #expect(events[0].attempts.map(\.outcome) == [.retried, .postponed, .deadLettered, .delivered])
            #expect(events[0].attempts.map(\.number) == [1, 1, 2, 1])
            #expect(events[0].attempts.map(\.status) == [503, 429, 422, 202])
            #expect(events[0].attempts.map(\.retryAfterMs) == [1_000, 60_000, nil, nil])
            #expect(events[0].redrives.map(\.redriveID) == ["r1"] && events[1].redrives.isEmpty)
            #expect(events[0].deliveredAt == Self.now.addingTimeInterval(40))
            let none = try await trail.events(of: OrderID(.version7()), deadline: .now + Shop.timeout)
            #expect(none == nil)

            let delays = try await trail.delays(since: Self.now, deadline: .now + Shop.timeout)
            #expect((delays.samples, delays.p50Ms, delays.p99Ms) == (1, 40_000, 40_000))
            let later = try await trail.delays(since: Self.now.addingTimeInterval(60), deadline: .now + Shop.timeout)
            #expect((later.samples, later.p50Ms) == (0, nil))
        }
    }

    /// The shard's relay says that all is confirmed, and says it again later.
    private static let acknowledgement = """
        INSERT INTO outbox_acks (shard, slot, n, base, target, after_id, last_id, epoch, at)
        SELECT 0, outbox_slot(now()), more.n, pg_current_snapshot(), pg_current_snapshot(), 0, max(e.id), outbox_epoch(),
            to_timestamp(1769850309 + more.n)
        FROM outbox_events e, (VALUES (2), (3)) AS more (n)
        GROUP BY more.n
        """

    private static func script(order: String, first: String, second: String) -> String {
        """
        INSERT INTO users (name, email, created_at, updated_at) VALUES ('Mina', 'm@example.com', now(), now());
        INSERT INTO orders SELECT '\(order)', id, 'CANCELLED', 1, 2, to_timestamp(1769850300), now() FROM users;
        INSERT INTO order_transitions (order_id, version, from_status, to_status, changed_at)
        VALUES ('\(order)', 2, 'PAID', 'CANCELLED', to_timestamp(1769850310));
        INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
        VALUES (0, '\(first)', '\(order)', 1, 'order.paid.v1', to_timestamp(1769850300), '{}'),
            (0, '\(second)', '\(order)', 2, 'order.cancelled.v1', to_timestamp(1769850310), '{}');
        INSERT INTO delivery_attempts
            (order_id, event_id, attempts, outcome, status, error, fingerprint, tier_ms, duration_ms, attempted_at)
        VALUES ('\(order)', '\(first)', 1, 'RETRIED', 503, 'busy', 'f', 1000, 5, to_timestamp(1769850301)),
            ('\(order)', '\(first)', 1, 'POSTPONED', 429, 'later', 'f', 60000, 5, to_timestamp(1769850302)),
            ('\(order)', '\(first)', 2, 'DEAD_LETTERED', 422, 'no', 'f', NULL, 5, to_timestamp(1769850303)),
            ('\(order)', '\(second)', 1, 'DEAD_LETTERED', 422, 'no', 'f', NULL, 5, to_timestamp(1769850312));
        INSERT INTO redrives VALUES ('r1', '--all', 'mina', now(), now(), 'DONE', 1);
        INSERT INTO redriven_events VALUES ('r1', '\(first)', '\(order)', to_timestamp(1769850330));
        INSERT INTO event_deliveries
        VALUES ('\(order)', '\(first)', 1, 202, 5, to_timestamp(1769850300), to_timestamp(1769850340));
        """
    }
}
