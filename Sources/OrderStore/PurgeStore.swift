package import FoundationEssentials
package import Postgres

/// Which dead letters operators have removed for good, and when.
package enum PurgeStore {
    /// Notes that dead letters of these events are removed; of one that is noted already, that it was done again.
    ///
    /// Throws `PostgresError`.
    package static func record(
        _ events: [DeliveryStore.EventKey],
        purgedBy user: String,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        guard !events.isEmpty else { return }
        _ = try await connection.query(
            Statements.record,
            [.uuidArray(events.map(\.orderID)), .uuidArray(events.map(\.eventID)), .text(user), .timestamp(now)],
            deadline: deadline
        )
    }
}

extension PurgeStore {
    enum Statements {
        static let all = [record]

        /// An event may be among the dead letters twice.
        static let record = SQLStatement(
            "purge_record",
            """
            INSERT INTO purged_events (order_id, event_id, purged_by, purged_at)
            SELECT DISTINCT event.order_id, event.event_id, $3::text, $4::timestamptz
            FROM unnest($1::uuid[], $2::uuid[]) AS event (order_id, event_id)
            ON CONFLICT (order_id, event_id) DO UPDATE
            SET purged_by = excluded.purged_by, purged_at = excluded.purged_at
            """
        )
    }
}
