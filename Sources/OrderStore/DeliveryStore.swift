package import FoundationEssentials
package import Postgres

/// The consumer's notes on what became of events: its inbox (`event_deliveries`) and the attempts that failed.
package struct DeliveryStore: Sendable {
    /// The longest error text, in characters; the schema checks it.
    package static let errorLimit = 2_048

    /// An event by the order that it belongs to.
    package struct EventKey: Hashable, Sendable {
        package let orderID: UUID
        package let eventID: UUID

        /// Names an event.
        package init(orderID: UUID, eventID: UUID) {
            self.orderID = orderID
            self.eventID = eventID
        }
    }

    /// An event's place among the events of its order.
    package struct EventPlace: Hashable, Sendable {
        package let orderID: UUID
        /// The order's own count of its events, from 1.
        package let sequence: Int32

        /// Names a place.
        package init(orderID: UUID, sequence: Int32) {
            self.orderID = orderID
            self.sequence = sequence
        }
    }

    /// An event that the platform has accepted.
    package struct Delivered: Hashable, Sendable {
        package let key: EventKey
        /// Requests that carried it and count, this one included; 1 or more.
        package let attempts: Int
        /// The platform's answer, 200 to 299.
        package let status: Int
        package let duration: Duration
        package let occurredAt: Date
        package let deliveredAt: Date

        /// Describes a delivery.
        package init(
            key: EventKey,
            attempts: Int,
            status: Int,
            duration: Duration,
            occurredAt: Date,
            deliveredAt: Date
        ) {
            self.key = key
            self.attempts = attempts
            self.status = status
            self.duration = duration
            self.occurredAt = occurredAt
            self.deliveredAt = deliveredAt
        }
    }

    /// What was done with an event that was not delivered.
    package enum FailureOutcome: String, CaseIterable, Sendable {
        /// It will be tried again, and the attempt counts.
        case retried = "RETRIED"
        /// It will be tried again, and the attempt does not count.
        case postponed = "POSTPONED"
        /// It waits for a person.
        case deadLettered = "DEAD_LETTERED"
    }

    /// An attempt that did not deliver.
    package struct Failed: Hashable, Sendable {
        package let key: EventKey
        /// Requests that carried it and count; 0 or more.
        package let attempts: Int
        package let outcome: FailureOutcome
        /// The platform's answer; nil when there was none.
        package let status: Int?
        /// What was wrong; cut at ``DeliveryStore/errorLimit``.
        package let error: String
        /// Alike for failures of one cause.
        package let fingerprint: String
        /// How long it waits now; nil for a dead letter.
        package let tierMs: Int?
        package let duration: Duration
        package let attemptedAt: Date

        /// Describes a failed attempt.
        package init(
            key: EventKey,
            attempts: Int,
            outcome: FailureOutcome,
            status: Int?,
            error: String,
            fingerprint: String,
            tierMs: Int?,
            duration: Duration,
            attemptedAt: Date
        ) {
            self.key = key
            self.attempts = attempts
            self.outcome = outcome
            self.status = status
            self.error = error
            self.fingerprint = fingerprint
            self.tierMs = tierMs
            self.duration = duration
            self.attemptedAt = attemptedAt
        }
    }

    private let pool: PostgresPool

    /// Reads and writes through `pool`.
    package init(_ pool: PostgresPool) {
        self.pool = pool
    }

    /// Which of the events the platform has accepted already; throws `PostgresError`.
    package func delivered(
        among events: [EventKey],
        deadline: ContinuousClock.Instant
    ) async throws -> Set<UUID> {
        guard !events.isEmpty else { return [] }
        let rows = try await pool.query(
            Statements.delivered,
            [.uuidArray(events.map(\.orderID)), .uuidArray(events.map(\.eventID))],
            deadline: deadline
        )
        return try Set(rows.map { try $0.get("event_id", as: UUID.self) })
    }

    /// Which of the places have an earlier event of their order in the outbox that is neither delivered nor waits for a
    /// person, as a dead letter or parked.
    ///
    /// What the outbox has let go, 12 to 24 hours after its commit, holds up nothing. Throws `PostgresError`.
    package func held(
        among places: [EventPlace],
        deadline: ContinuousClock.Instant
    ) async throws -> Set<EventPlace> {
        guard !places.isEmpty else { return [] }
        let rows = try await pool.query(
            Statements.held,
            [.uuidArray(places.map(\.orderID)), .int32Array(places.map(\.sequence))],
            deadline: deadline
        )
        return try Set(
            rows.map { EventPlace(orderID: try $0.get("order_id"), sequence: try $0.get("sequence")) }
        )
    }

    /// Notes what came of a batch, in one round trip and one transaction; noting a delivery again changes nothing.
    ///
    /// Throws `PostgresError`; then nothing is noted, or all of it, and saying it again is right.
    package func record(
        delivered: [Delivered],
        failed: [Failed],
        deadline: ContinuousClock.Instant
    ) async throws {
        var steps: [PostgresStep] = []
        if !delivered.isEmpty { steps.append(Self.insert(delivered)) }
        if !failed.isEmpty { steps.append(Self.insert(failed)) }
        guard steps.count > 1 else {
            if !steps.isEmpty { _ = try await pool.pipeline(steps, deadline: deadline) }
            return
        }
        _ = try await pool.pipeline([PostgresStep(.begin)] + steps + [PostgresStep(.commit)], deadline: deadline)
    }

    private static func insert(_ delivered: [Delivered]) -> PostgresStep {
        PostgresStep(
            Statements.insertDelivered,
            [
                .uuidArray(delivered.map(\.key.orderID)),
                .uuidArray(delivered.map(\.key.eventID)),
                .int32Array(delivered.map { Int32(clamping: max(1, $0.attempts)) }),
                .int32Array(delivered.map { Int32(clamping: $0.status) }),
                .int32Array(delivered.map { $0.duration.wholeMilliseconds }),
                .timestampArray(delivered.map(\.occurredAt)),
                .timestampArray(delivered.map(\.deliveredAt)),
            ]
        )
    }

    private static func insert(_ failed: [Failed]) -> PostgresStep {
        PostgresStep(
            Statements.insertFailed,
            [
                .uuidArray(failed.map(\.key.orderID)),
                .uuidArray(failed.map(\.key.eventID)),
                .int32Array(failed.map { Int32(clamping: max(0, $0.attempts)) }),
                .textArray(failed.map(\.outcome.rawValue)),
                .int32Array(failed.map { Int32(clamping: $0.status ?? 0) }),
                .textArray(failed.map { $0.error.storable(limit: errorLimit) }),
                .textArray(failed.map { $0.fingerprint.storable(limit: errorLimit) }),
                .int32Array(failed.map { Int32(clamping: $0.tierMs ?? 0) }),
                .int32Array(failed.map { $0.duration.wholeMilliseconds }),
                .timestampArray(failed.map(\.attemptedAt)),
            ]
        )
    }
}

extension Duration {
    fileprivate var wholeMilliseconds: Int32 { Int32(clamping: Int64(max(.zero, self) / .milliseconds(1))) }
}

extension DeliveryStore {
    enum Statements {
        static let all = [delivered, held, insertDelivered, insertFailed]

        /// A lookup for each event, which the planner cannot turn into a scan of a table that it takes for small.
        static let delivered = SQLStatement(
            "delivery_delivered",
            """
            SELECT found.event_id
            FROM unnest($1::uuid[], $2::uuid[]) AS asked (order_id, event_id)
            CROSS JOIN LATERAL (
                SELECT d.event_id
                FROM event_deliveries d
                WHERE d.order_id = asked.order_id AND d.event_id = asked.event_id
                LIMIT 1
            ) found
            """
        )

        static let held = SQLStatement(
            "delivery_held",
            """
            SELECT asked.order_id, asked.sequence
            FROM unnest($1::uuid[], $2::int4[]) AS asked (order_id, sequence)
            CROSS JOIN LATERAL (
                SELECT o.sequence
                FROM outbox_events o
                WHERE o.order_id = asked.order_id AND o.sequence < asked.sequence
                    AND NOT EXISTS (
                        SELECT FROM event_deliveries d
                        WHERE d.order_id = o.order_id AND d.event_id = o.event_id
                    )
                    AND NOT EXISTS (
                        SELECT FROM delivery_attempts a
                        WHERE a.order_id = o.order_id AND a.event_id = o.event_id AND a.outcome = 'DEAD_LETTERED'
                    )
                    AND NOT EXISTS (
                        SELECT FROM outbox_parked p
                        WHERE p.event_id = o.event_id AND (p.redriven_at IS NULL OR p.purged_by IS NOT NULL)
                    )
                LIMIT 1
            ) earlier
            """
        )

        static let insertDelivered = SQLStatement(
            "delivery_insert_delivered",
            """
            INSERT INTO event_deliveries (
                order_id, event_id, attempts, status, duration_ms, occurred_at, delivered_at
            )
            SELECT order_id, event_id, attempts, status, duration_ms, occurred_at, delivered_at
            FROM unnest(
                $1::uuid[], $2::uuid[], $3::int4[], $4::int4[], $5::int4[], $6::timestamptz[], $7::timestamptz[]
            ) AS new (order_id, event_id, attempts, status, duration_ms, occurred_at, delivered_at)
            ON CONFLICT (order_id, event_id) DO NOTHING
            """
        )

        static let insertFailed = SQLStatement(
            "delivery_insert_failed",
            """
            INSERT INTO delivery_attempts (
                order_id, event_id, attempts, outcome, status, error, fingerprint, tier_ms, duration_ms, attempted_at
            )
            SELECT order_id, event_id, attempts, outcome, nullif(status, 0), error, fingerprint, nullif(tier_ms, 0),
                duration_ms, attempted_at
            FROM unnest(
                $1::uuid[], $2::uuid[], $3::int4[], $4::text[], $5::int4[], $6::text[], $7::text[], $8::int4[],
                $9::int4[], $10::timestamptz[]
            ) AS new (
                order_id, event_id, attempts, outcome, status, error, fingerprint, tier_ms, duration_ms, attempted_at
            )
            """
        )
    }
}
