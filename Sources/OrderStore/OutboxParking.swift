package import FoundationEssentials
package import OrderDomain
package import Postgres

/// Events that the broker can never take: they wait for a person, while those behind them go on.
extension OutboxStore {
    /// An event that waits for a person, without its data.
    package struct ParkedEvent: Hashable, Sendable {
        package let eventID: UUID
        package let orderID: OrderID
        /// The order's own count of its events, from 1.
        package let sequence: Int
        package let type: String
        package let occurredAt: Date
        /// How large its data is.
        package let dataBytes: Int
        /// What the broker's client said.
        package let reason: String
        package let parkedAt: Date
    }

    /// Which parked events are meant.
    package enum ParkedSelection: Hashable, Sendable {
        case event(UUID)
        case all

        fileprivate var event: PostgresValue {
            switch self {
            case .event(let id): .uuid(id)
            case .all: .null
            }
        }
    }

    /// What is parked, the longest waiting first; throws `PostgresError`.
    ///
    /// - Parameters:
    ///   - limit: how many at most.
    ///   - redrive: what that one has given back, and what was refused again since, is left out.
    package static func parked(
        _ selection: ParkedSelection = .all,
        limit: Int,
        exceptOf redrive: String? = nil,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [ParkedEvent] {
        try await connection.query(
            Statements.readParked,
            [selection.event, .int64(Int64(limit)), redrive.map { .text($0) } ?? .null],
            deadline: deadline
        )
        .map { row in
            ParkedEvent(
                eventID: try row.get("event_id"),
                orderID: try row.orderID("order_id"),
                sequence: Int(try row.get("sequence", as: Int32.self)),
                type: try row.get("type"),
                occurredAt: try row.get("occurred_at"),
                dataBytes: Int(try row.get("data_bytes", as: Int32.self)),
                reason: try row.get("reason"),
                parkedAt: try row.get("parked_at")
            )
        }
    }

    /// How many events are parked; throws `PostgresError`.
    package static func parkedCount(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int64 {
        let rows = try await connection.query(Statements.countParked, deadline: deadline)
        return try rows[rows.startIndex].get("parked")
    }

    /// A parked event with its data; nil when it is not parked. Throws `PostgresError`.
    package static func parkedEvent(
        _ event: UUID,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> OutboxEvent? {
        try await connection.query(Statements.readParkedEvent, [.uuid(event)], deadline: deadline)
            .first.map(OutboxEvent.init(row:))
    }

    /// Gives parked events back to the relay, which sends them as if they had been committed now; refused again, they
    /// are parked again.
    ///
    /// Said twice it gives back once. For the owner of the schema. In one transaction with the note that the redrive
    /// has done it, if there is one. Throws `PostgresError`.
    /// - Returns: which of the events were parked, and are given back.
    package static func unpark(
        _ events: [UUID],
        in redrive: String? = nil,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [UUID] {
        let unpark = PostgresStep(Statements.unpark, [.uuidArray(events), .timestamp(now)])
        let note = redrive.map { id in
            PostgresStep(Statements.noteUnparked, [.text(id), .uuidArray(events), .timestamp(now)])
        }
        // Steps outside of a transaction are one transaction.
        let rows = try await connection.pipeline([note, unpark].compactMap(\.self), deadline: deadline)
        return try rows[rows.count - 1].map { try $0.get("event_id") }
    }

    /// Gives parked events up for good; their rows stay, and say who did it. For the owner of the schema.
    ///
    /// Throws `PostgresError`.
    /// - Returns: which of the events were parked, and are given up.
    package static func purgeParked(
        _ events: [UUID],
        by user: String,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [UUID] {
        try await connection.query(
            Statements.purgeParked,
            [.uuidArray(events), .text(user), .timestamp(now)],
            deadline: deadline
        )
        .map { try $0.get("event_id") }
    }
}

extension OutboxStore.Statements {
    static let parked = [readParked, countParked, readParkedEvent, noteUnparked, unpark, purgeParked]

    static let readParked = SQLStatement(
        "outbox_read_parked",
        """
        SELECT event_id, order_id, sequence, type, occurred_at, octet_length(data::text) AS data_bytes, reason,
            parked_at
        FROM outbox_parked p
        WHERE redriven_at IS NULL AND ($1::uuid IS NULL OR event_id = $1)
            AND NOT EXISTS (SELECT FROM redriven_events r WHERE r.redrive_id = $3 AND r.event_id = p.event_id)
        ORDER BY parked_at, event_id
        LIMIT $2
        """
    )

    static let countParked = SQLStatement(
        "outbox_count_parked",
        """
        SELECT count(*) AS parked
        FROM outbox_parked
        WHERE redriven_at IS NULL
        """
    )

    static let readParkedEvent = SQLStatement(
        "outbox_read_parked_event",
        """
        SELECT event_id, order_id, sequence, type, occurred_at, traceparent, data
        FROM outbox_parked
        WHERE event_id = $1 AND redriven_at IS NULL
        """
    )

    /// Nobody else gives them back in between: their rows are locked.
    static let noteUnparked = SQLStatement(
        "outbox_note_unparked",
        """
        INSERT INTO redriven_events (redrive_id, event_id, order_id, redriven_at)
        SELECT $1, event_id, order_id, $3
        FROM outbox_parked
        WHERE event_id = ANY ($2) AND redriven_at IS NULL
        FOR UPDATE
        ON CONFLICT (redrive_id, event_id) DO NOTHING
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

    static let purgeParked = SQLStatement(
        "outbox_purge_parked",
        """
        UPDATE outbox_parked
        SET redriven_at = $3, purged_by = $2
        WHERE event_id = ANY ($1) AND redriven_at IS NULL
        RETURNING event_id
        """
    )
}
