package import FoundationEssentials
package import Postgres

/// Events that the broker can never take: they wait for a person, while those behind them go on.
extension OutboxStore {
    /// An event that waits for a person.
    package struct ParkedEvent: Hashable, Sendable {
        package let event: OutboxEvent
        /// What the broker's client said.
        package let reason: String
        package let parkedAt: Date
    }

    /// What is parked, the longest waiting first.
    ///
    /// - Parameter limit: how many at most.
    package static func parked(
        limit: Int,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [ParkedEvent] {
        try await connection.query(Statements.readParked, [.int64(Int64(limit))], deadline: deadline)
            .map { row in
                ParkedEvent(
                    event: try OutboxEvent(row: row),
                    reason: try row.get("reason"),
                    parkedAt: try row.get("parked_at")
                )
            }
    }

    /// Gives parked events back to the relay, which sends them as if they had been committed now; refused again, they
    /// are parked again.
    ///
    /// Said twice it gives back once. For the owner of the schema.
    /// - Returns: which of the events were parked, and are given back.
    package static func unpark(
        _ events: [UUID],
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [UUID] {
        try await connection.query(
            Statements.unpark,
            [.uuidArray(events), .timestamp(now)],
            deadline: deadline
        )
        .map { try $0.get("event_id") }
    }
}

extension OutboxStore.Statements {
    static let parked = [readParked, unpark]

    static let readParked = SQLStatement(
        "outbox_read_parked",
        """
        SELECT event_id, order_id, sequence, type, occurred_at, traceparent, data, reason, parked_at
        FROM outbox_parked
        WHERE redriven_at IS NULL
        ORDER BY parked_at, event_id
        LIMIT $1
        """
    )

    /// The event's row is still there, and counts as confirmed: with the id of this transaction it is new to the relay.
    /// Where it went with its slot it is inserted again. Its id stays, which says where it belongs among its order's.
    static let unpark = SQLStatement(
        "outbox_unpark",
        """
        WITH given_back AS (
            UPDATE outbox_parked
            SET redriven_at = $2
            WHERE event_id = ANY ($1) AND redriven_at IS NULL
            RETURNING event_id, id, shard, order_id, sequence, type, occurred_at, traceparent, data
        ), stamped AS (
            UPDATE outbox_events e
            SET txid = pg_current_xact_id()
            FROM given_back g
            WHERE e.order_id = g.order_id AND e.sequence = g.sequence AND e.event_id = g.event_id
            RETURNING e.event_id
        ), inserted AS (
            INSERT INTO outbox_events
                (id, shard, event_id, order_id, sequence, type, occurred_at, traceparent, data)
                OVERRIDING SYSTEM VALUE
            SELECT g.id, g.shard, g.event_id, g.order_id, g.sequence, g.type, g.occurred_at, g.traceparent, g.data
            FROM given_back g
            WHERE NOT EXISTS (SELECT FROM stamped s WHERE s.event_id = g.event_id)
        )
        SELECT event_id FROM given_back ORDER BY id
        """
    )
}
