package import FoundationEssentials
package import Postgres

/// Removes rows that nobody asks for any more, in batches that are a transaction each.
package enum CleanUp {
    /// A table of which old rows go.
    package enum Target: String, CaseIterable, Sendable {
        case idempotencyKeys = "idempotency-keys"
        case jobRuns = "job-runs"
        case aggregationRuns = "aggregation-runs"
        case eventDeliveries = "event-deliveries"
        case deliveryAttempts = "delivery-attempts"

        /// For how long its rows stay, in hours.
        ///
        /// Keys are promised for a day; an hour more, as the clocks of two machines may differ. The others are there
        /// for people who ask what happened.
        package var hoursKept: Int {
            switch self {
            case .idempotencyKeys: 25
            case .jobRuns, .aggregationRuns, .eventDeliveries, .deliveryAttempts: 30 * 24
            }
        }
    }

    /// How many rows one transaction removes: locks and WAL of a moment.
    private static let batchRows: Int64 = 5_000

    /// Removes what is older at `now` than it needs to be.
    ///
    /// - Returns: how many rows have gone.
    /// - Throws: `PostgresError`; what earlier batches removed stays removed.
    package static func remove(
        _ target: Target,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int {
        let before = now.addingTimeInterval(-Double(target.hoursKept) * 3_600)
        var removed = 0
        while true {
            let batch = try await connection.query(
                statement(target),
                [.timestamp(before), .int64(batchRows)],
                deadline: deadline
            )
            removed += batch.affectedRows
            if batch.affectedRows < batchRows { return removed }
        }
    }

    private static func statement(_ target: Target) -> SQLStatement {
        switch target {
        case .idempotencyKeys: Statements.idempotencyKeys
        case .jobRuns: Statements.jobRuns
        case .aggregationRuns: Statements.aggregationRuns
        case .eventDeliveries: Statements.eventDeliveries
        case .deliveryAttempts: Statements.deliveryAttempts
        }
    }
}

extension CleanUp {
    enum Statements {
        static let all = [idempotencyKeys, jobRuns, aggregationRuns, eventDeliveries, deliveryAttempts]

        /// The age is asked again of the row itself: an old key may be written over in between.
        static let idempotencyKeys = SQLStatement(
            "clean_idempotency_keys",
            """
            DELETE FROM idempotency_keys
            WHERE created_at < $1 AND ctid = ANY (ARRAY(
                SELECT ctid FROM idempotency_keys WHERE created_at < $1 LIMIT $2
            ))
            """
        )

        /// A job's last time stays, however old: it says what has been missed since.
        static let jobRuns = SQLStatement(
            "clean_job_runs",
            """
            DELETE FROM job_runs
            WHERE finished_at IS NOT NULL AND ctid = ANY (ARRAY(
                SELECT r.ctid
                FROM job_runs r
                WHERE r.scheduled_for < $1 AND r.finished_at IS NOT NULL
                    AND EXISTS (SELECT FROM job_runs l WHERE l.job = r.job AND l.scheduled_for > r.scheduled_for)
                LIMIT $2
            ))
            """
        )

        /// The newest runs stay, however old: the next one goes on from the last, and their lists may be read.
        static let aggregationRuns = SQLStatement(
            "clean_aggregation_runs",
            """
            DELETE FROM aggregation_runs
            WHERE id IN (
                SELECT id
                FROM aggregation_runs
                WHERE finished_at < $1 AND id < (SELECT max(id) FROM aggregation_runs) - 1000
                ORDER BY id
                LIMIT $2
            )
            """
        )

        /// Ids of orders begin with their time, so that old rows are found at the beginning of the key.
        static let eventDeliveries = SQLStatement(
            "clean_event_deliveries",
            """
            DELETE FROM event_deliveries
            WHERE (order_id, event_id) IN (
                SELECT order_id, event_id
                FROM event_deliveries
                WHERE delivered_at < $1
                    AND order_id < (lpad(to_hex((extract(epoch FROM $1::timestamptz) * 1000)::bigint), 12, '0')
                        || '70008000000000000000')::uuid
                ORDER BY order_id, event_id
                LIMIT $2
            )
            """
        )

        static let deliveryAttempts = SQLStatement(
            "clean_delivery_attempts",
            """
            DELETE FROM delivery_attempts
            WHERE id IN (SELECT id FROM delivery_attempts WHERE attempted_at < $1 ORDER BY id LIMIT $2)
            """
        )
    }
}
