import FoundationEssentials
import OrderDomain
import Postgres
import TestSupport
import Testing

@testable import OrderStore

@Suite("What became of events", .timeLimit(.minutes(1)))
struct DeliveryStoreTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    private func key() -> DeliveryStore.EventKey { .init(orderID: UUID(), eventID: UUID()) }

    private func delivered(_ key: DeliveryStore.EventKey, attempts: Int = 1) -> DeliveryStore.Delivered {
        .init(
            key: key,
            attempts: attempts,
            status: 202,
            duration: .milliseconds(12),
            occurredAt: now.addingTimeInterval(-1),
            deliveredAt: now
        )
    }

    private func failed(
        _ key: DeliveryStore.EventKey,
        _ outcome: DeliveryStore.FailureOutcome,
        error: String = "status 500"
    ) -> DeliveryStore.Failed {
        .init(
            key: key,
            attempts: 2,
            outcome: outcome,
            status: outcome == .postponed ? nil : 500,
            error: error,
            fingerprint: "500",
            tierMs: outcome == .deadLettered ? nil : 2_000,
            duration: .seconds(2),
            attemptedAt: now
        )
    }

    @Test("what was noted is known, noted again it changes nothing, and others are not known")
    func inbox() async throws {
        try await Shop.withShop { shop in
            let store = DeliveryStore(shop.pool)
            let keys = (0..<500).map { _ in key() }
            let deadline = ContinuousClock.now + Shop.timeout
            #expect(try await store.delivered(among: keys, deadline: deadline).isEmpty)
            try await store.record(delivered: keys.map { delivered($0) }, failed: [], deadline: deadline)
            try await store.record(
                delivered: [delivered(keys[0], attempts: 9), delivered(keys[0])],
                failed: DeliveryStore.FailureOutcome.allCases.map { failed(keys[0], $0) },
                deadline: deadline
            )
            let known = try await store.delivered(among: keys + [key()], deadline: deadline)
            #expect(known == Set(keys.map(\.eventID)))
            // The same event of another order is another one.
            let stranger = DeliveryStore.EventKey(orderID: UUID(), eventID: keys[0].eventID)
            #expect(try await store.delivered(among: [stranger], deadline: deadline).isEmpty)
            let rows = try await shop.pool.query(
                SQLStatement(
                    "test_attempts",
                    """
                    SELECT d.attempts, count(a.id) AS failures, count(a.status) AS answered, max(a.tier_ms) AS tier
                    FROM event_deliveries d JOIN delivery_attempts a USING (order_id, event_id) GROUP BY 1
                    """
                ),
                deadline: deadline
            )
            #expect(try rows[0].get("attempts", as: Int32.self) == 1)
            #expect(try rows[0].get("failures", as: Int64.self) == 3)
            #expect(try rows[0].get("answered", as: Int64.self) == 2)
            #expect(try rows[0].get("tier", as: Int32.self) == 2_000)
        }
    }

    @Test("any error text can be noted")
    func errorTexts() async throws {
        try await Shop.withShop { shop in
            let store = DeliveryStore(shop.pool)
            for text in ["", "a\0b", String(repeating: "한", count: 5_000), String(repeating: "e\u{301}", count: 2_000)]
            {
                try await store.record(
                    delivered: [],
                    failed: [failed(key(), .retried, error: text)],
                    deadline: .now + Shop.timeout
                )
            }
        }
    }

    @Test("an event is held while an earlier one of its order is neither delivered nor a dead letter")
    func order() async throws {
        try await Shop.withShop { shop in
            let store = DeliveryStore(shop.pool)
            let (order, events) = (UUID(), (0..<3).map { _ in UUID() })
            for (index, event) in events.enumerated() {
                _ = try await shop.pool.query(
                    SQLStatement(
                        "test_event",
                        """
                        INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
                        VALUES (0, $1, $2, $3, 'order.paid.v1', $4, '{}')
                        """
                    ),
                    [.uuid(event), .uuid(order), .int32(Int32(index + 1)), .timestamp(now)],
                    deadline: .now + Shop.timeout
                )
            }
            let places = (1...3).map { DeliveryStore.EventPlace(orderID: order, sequence: $0) }
            let other = DeliveryStore.EventPlace(orderID: UUID(), sequence: 7)
            func held() async throws -> Set<DeliveryStore.EventPlace> {
                try await store.held(among: places + [other], deadline: .now + Shop.timeout)
            }
            #expect(try await held() == [places[1], places[2]])
            let keys = events.map { DeliveryStore.EventKey(orderID: order, eventID: $0) }
            try await store.record(
                delivered: [delivered(keys[0])],
                failed: [failed(keys[1], .retried)],
                deadline: .now + Shop.timeout
            )
            #expect(try await held() == [places[2]])
            try await store.record(
                delivered: [],
                failed: [failed(keys[1], .deadLettered)],
                deadline: .now + Shop.timeout
            )
            #expect(try await held().isEmpty)
        }
    }
}
