package import FoundationEssentials
package import OrderDomain
package import Postgres

/// What became of the events of an order: the one reader of everything that is noted on their way.
package struct DeliveryTrail: Sendable {
    /// How many of an order's events are read at most; an order changes its state four times.
    private static let eventLimit = 100
    /// How many of the last attempts, and of the redrives, of an order are read at most.
    private static let attemptLimit = 1_000

    private let pool: PostgresPool

    /// Reads through `pool`.
    package init(_ pool: PostgresPool) {
        self.pool = pool
    }

    /// From the commit to the platform's answer, over the deliveries of the last while.
    package struct Delays: Hashable, Sendable {
        package let samples: Int64
        /// In milliseconds; nil when there was none.
        package let p50Ms: Double?
        /// In milliseconds; nil when there was none.
        package let p99Ms: Double?
    }

    /// How long the deliveries since `start` took, among those of the newest 50,000 orders' events; throws
    /// `PostgresError`.
    package func delays(since start: Date, deadline: ContinuousClock.Instant) async throws -> Delays {
        let rows = try await pool.query(Statements.delays, [.timestamp(start)], deadline: deadline)
        let row = rows[rows.startIndex]
        return Delays(samples: try row.get("samples"), p50Ms: try row.get("p50_ms"), p99Ms: try row.get("p99_ms"))
    }

    /// The order's events, the oldest first; nil when there is no such order. Throws `PostgresError`.
    package func events(of order: OrderID, deadline: ContinuousClock.Instant) async throws -> [EventTrail]? {
        let id = PostgresValue.uuid(order.uuid)
        let rows = try await pool.pipeline(
            [
                PostgresStep(Statements.events, [id, .int64(Int64(Self.eventLimit))]),
                PostgresStep(Statements.deliveries, [id, .int64(Int64(Self.eventLimit))]),
                PostgresStep(Statements.failedAttempts, [id, .int64(Int64(Self.attemptLimit))]),
                PostgresStep(Statements.redrives, [id, .int64(Int64(Self.attemptLimit))]),
                PostgresStep(Statements.purges, [id, .int64(Int64(Self.eventLimit))]),
            ],
            deadline: deadline
        )
        guard !rows[0].isEmpty else { return nil }
        let deliveries = try rows[1].map(Delivery.init(row:))
        let failures = try Dictionary(grouping: rows[2].map(Failure.init(row:)), by: \.eventID)
        let redrives = try Dictionary(grouping: rows[3].map(Redrive.init(row:)), by: \.eventID)
        let purges = try Dictionary(grouping: rows[4].map(Purge.init(row:)), by: \.eventID)
        return try rows[0].map { row in
            let occurredAt: Date = try row.get("occurred_at")
            let noted: UUID? = try row.get("event_id")
            // What the outbox has let go can be told by its time.
            let delivery = deliveries.first { noted.map($0.isOf) ?? ($0.occurredAt == occurredAt) }
            let eventID = noted ?? delivery?.eventID
            let failed = eventID.flatMap { failures[$0] } ?? []
            return EventTrail(
                eventID: eventID,
                type: try row.get("type"),
                sequence: Int(try row.get("sequence", as: Int32.self)),
                occurredAt: occurredAt,
                isConfirmed: try row.get("is_confirmed"),
                confirmedAt: try row.get("confirmed_at"),
                parking: try EventParking(row: row),
                attempts: (failed.map(\.attempt) + [delivery?.attempt].compactMap(\.self)).sorted { $0.at < $1.at },
                redrives: (eventID.flatMap { redrives[$0] } ?? []).map(\.redrive),
                purge: eventID.flatMap { purges[$0]?.last?.purge }
            )
        }
    }
}

extension EventParking {
    /// Nil for an event that is not parked.
    fileprivate init?(row: PostgresRow) throws {
        guard let at = try row.get("parked_at", as: Date?.self) else { return nil }
        let purgedBy: String? = try row.get("purged_by")
        self.init(
            at: at,
            reason: try row.get("reason"),
            purgedBy: purgedBy,
            purgedAt: purgedBy == nil ? nil : try row.get("redriven_at")
        )
    }
}

private struct Delivery {
    let eventID: UUID
    let occurredAt: Date
    let attempt: DeliveryAttempt

    func isOf(_ event: UUID) -> Bool { eventID == event }

    init(row: PostgresRow) throws {
        eventID = try row.get("event_id")
        occurredAt = try row.get("occurred_at")
        attempt = DeliveryAttempt(
            at: try row.get("delivered_at"),
            number: Int(try row.get("attempts", as: Int32.self)),
            outcome: .delivered,
            status: Int(try row.get("status", as: Int16.self)),
            error: nil,
            retryAfterMs: nil
        )
    }
}

private struct Failure {
    let eventID: UUID
    let attempt: DeliveryAttempt

    init(row: PostgresRow) throws {
        eventID = try row.get("event_id")
        attempt = DeliveryAttempt(
            at: try row.get("attempted_at"),
            number: Int(try row.get("attempts", as: Int32.self)),
            outcome: try row.choice("outcome"),
            status: try row.get("status", as: Int16?.self).map(Int.init),
            error: try row.get("error"),
            retryAfterMs: try row.get("tier_ms", as: Int32?.self).map(Int.init)
        )
    }
}

private struct Redrive {
    let eventID: UUID
    let redrive: EventRedrive

    init(row: PostgresRow) throws {
        eventID = try row.get("event_id")
        redrive = EventRedrive(redriveID: try row.get("redrive_id"), at: try row.get("redriven_at"))
    }
}

private struct Purge {
    let eventID: UUID
    let purge: EventPurge

    init(row: PostgresRow) throws {
        eventID = try row.get("event_id")
        purge = EventPurge(by: try row.get("purged_by"), at: try row.get("purged_at"))
    }
}

extension DeliveryTrail {
    enum Statements {
        static let all = [events, deliveries, failedAttempts, redrives, purges, delays]

        /// The table has no index by time, but ids of orders rise with it.
        static let delays = SQLStatement(
            "trail_delays",
            """
            SELECT count(*) AS samples,
                percentile_cont(0.5) WITHIN GROUP (ORDER BY delay_ms) AS p50_ms,
                percentile_cont(0.99) WITHIN GROUP (ORDER BY delay_ms) AS p99_ms
            FROM (
                SELECT delivered_at, extract(epoch FROM delivered_at - occurred_at)::float8 * 1000 AS delay_ms
                FROM event_deliveries
                ORDER BY order_id DESC
                LIMIT 50000
            ) newest
            WHERE delivered_at >= $1
            """
        )

        /// An event for each change of state. The one that the outbox does not have any more was confirmed long ago.
        ///
        /// It was confirmed at the first acknowledgement of its shard since then that covers it; the minute is for
        /// clocks that differ.
        static let events = SQLStatement(
            "trail_events",
            """
            WITH change AS (
                SELECT 1 AS sequence, 'order.paid.v1' AS type, created_at AS occurred_at
                FROM orders
                WHERE id = $1
                UNION ALL
                SELECT version,
                    CASE to_status WHEN 'CANCELLED' THEN 'order.cancelled.v1' ELSE 'order.status-changed.v1' END,
                    changed_at
                FROM order_transitions
                WHERE order_id = $1
            )
            SELECT coalesce(e.event_id, parked.event_id) AS event_id, change.sequence, change.type,
                coalesce(e.occurred_at, parked.occurred_at, change.occurred_at) AS occurred_at,
                parked.event_id IS NULL AND (e.event_id IS NULL OR confirmed.at IS NOT NULL) AS is_confirmed,
                CASE WHEN parked.event_id IS NULL THEN confirmed.at END AS confirmed_at,
                parked.parked_at, parked.reason, parked.purged_by, parked.redriven_at
            FROM change
            LEFT JOIN outbox_events e ON e.order_id = $1 AND e.sequence = change.sequence
            LEFT JOIN outbox_parked parked
                ON parked.order_id = $1 AND parked.sequence = change.sequence
                    AND (parked.redriven_at IS NULL OR parked.purged_by IS NOT NULL)
            LEFT JOIN LATERAL (
                SELECT a.at
                FROM outbox_acks a
                WHERE a.shard = e.shard AND a.at >= e.occurred_at - interval '1 minute'
                    AND (pg_visible_in_snapshot(e.txid, a.base)
                        OR (e.id <= a.after_id AND pg_visible_in_snapshot(e.txid, a.target)))
                ORDER BY a.shard, a.at
                LIMIT 1
            ) confirmed ON true
            ORDER BY change.sequence
            LIMIT $2
            """
        )

        static let deliveries = SQLStatement(
            "trail_deliveries",
            """
            SELECT event_id, attempts, status, occurred_at, delivered_at
            FROM event_deliveries
            WHERE order_id = $1
            ORDER BY delivered_at
            LIMIT $2
            """
        )

        /// The last ones, in the order in which they were noted.
        static let failedAttempts = SQLStatement(
            "trail_failed_attempts",
            """
            SELECT event_id, attempts, outcome, status, error, tier_ms, attempted_at
            FROM (
                SELECT id, event_id, attempts, outcome, status, error, tier_ms, attempted_at
                FROM delivery_attempts
                WHERE order_id = $1
                ORDER BY id DESC
                LIMIT $2
            ) last
            ORDER BY attempted_at, id
            """
        )

        static let redrives = SQLStatement(
            "trail_redrives",
            """
            SELECT redrive_id, event_id, redriven_at
            FROM redriven_events
            WHERE order_id = $1
            ORDER BY redriven_at
            LIMIT $2
            """
        )

        static let purges = SQLStatement(
            "trail_purges",
            """
            SELECT event_id, purged_by, purged_at
            FROM purged_events
            WHERE order_id = $1
            ORDER BY purged_at
            LIMIT $2
            """
        )
    }
}
