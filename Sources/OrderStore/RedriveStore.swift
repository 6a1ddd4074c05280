package import FoundationEssentials
package import Postgres

/// Which dead letters operators have sent again, and when.
///
/// A row of `redriven_events` is written once the broker has confirmed the event in the forward queue, and before its
/// dead letter is removed: who finds the row knows that the event need not be sent again by the same redrive. The same
/// is known of a dead letter that names this redrive as its last one, noted or not.
package enum RedriveStore {
    /// The first half of the advisory lock's key; the second is a hash of the redrive's id.
    private static let lockClass: Int32 = 7_003

    /// An operator's redrive.
    package struct Redrive: Hashable, Sendable {
        package let id: String
        package let selection: String
        package let requestedBy: String
        package let startedAt: Date
        /// Nil while it goes on, or when it was killed.
        package let finishedAt: Date?
        package let result: Result?
        /// Events that it has sent again so far.
        package let redriven: Int64
    }

    /// How a redrive ended.
    package enum Result: String, Sendable {
        case done = "DONE"
        case stopped = "STOPPED"
        case failed = "FAILED"
    }

    /// A dead letter of which is asked what became of its event.
    package struct Candidate: Hashable, Sendable {
        package let eventID: UUID
        package let orderID: UUID
        /// The redrive after which it came back, if any.
        package let lastRedrive: String?

        /// Makes a candidate.
        package init(eventID: UUID, orderID: UUID, lastRedrive: String?) {
            self.eventID = eventID
            self.orderID = orderID
            self.lastRedrive = lastRedrive
        }
    }

    /// What became of a candidate's event already.
    package enum Standing: Hashable, Sendable {
        /// Nothing yet.
        case open
        /// This redrive has sent it, and this is the copy from before.
        case sent
        /// This redrive has sent it, and it has failed again since.
        case cameBack
        /// The platform has it.
        case delivered
    }

    /// Begins a redrive, or goes on with one; one process at a time.
    ///
    /// Returns what is noted of it, with its selection as it was at first; nil when another process is at it. Throws
    /// `PostgresError`.
    package static func begin(
        _ id: String,
        selection: String,
        requestedBy: String,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Redrive? {
        let lock = try await connection.query(
            Statements.tryLock,
            [.int32(lockClass), .text(id)],
            deadline: deadline
        )
        guard try lock[lock.startIndex].get("locked") else { return nil }
        _ = try await connection.query(
            Statements.insert,
            [.text(id), .text(selection), .text(requestedBy), .timestamp(now)],
            deadline: deadline
        )
        return try await find(id, on: connection, deadline: deadline)
    }

    /// What is noted of a redrive, or nil; throws `PostgresError`.
    package static func find(
        _ id: String,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Redrive? {
        try await connection.query(Statements.select, [.text(id)], deadline: deadline).first.map(Redrive.init(row:))
    }

    /// What became of the events, in the order of the candidates; throws `PostgresError`.
    package static func standings(
        of candidates: [Candidate],
        in redrive: String,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [Standing] {
        guard !candidates.isEmpty else { return [] }
        let rows = try await connection.query(
            Statements.standings,
            [
                .text(redrive), .uuidArray(candidates.map(\.eventID)), .uuidArray(candidates.map(\.orderID)),
                .textArray(candidates.map(\.lastRedrive)),
            ],
            deadline: deadline
        )
        return try rows.map { row in
            if try row.get("is_sent") { return try row.get("is_before") ? .sent : .cameBack }
            return try row.get("is_delivered") ? .delivered : .open
        }
    }

    /// Notes that the broker has confirmed events of a redrive; throws `PostgresError`.
    package static func record(
        _ events: [Candidate],
        in redrive: String,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        guard !events.isEmpty else { return }
        _ = try await connection.query(
            Statements.record,
            [
                .text(redrive), .uuidArray(events.map(\.eventID)), .uuidArray(events.map(\.orderID)), .timestamp(now),
            ],
            deadline: deadline
        )
    }

    /// Notes how a redrive has ended, and how many events it has sent; throws `PostgresError`.
    package static func finish(
        _ id: String,
        _ result: Result,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        _ = try await connection.query(
            Statements.finish,
            [.text(id), .text(result.rawValue), .timestamp(now)],
            deadline: deadline
        )
    }
}

extension RedriveStore.Redrive {
    fileprivate init(row: PostgresRow) throws {
        id = try row.get("id")
        selection = try row.get("selection")
        requestedBy = try row.get("requested_by")
        startedAt = try row.get("started_at")
        finishedAt = try row.get("finished_at")
        result = try row.get("result", as: String?.self).flatMap(RedriveStore.Result.init(rawValue:))
        redriven = try row.get("redriven")
    }
}

extension RedriveStore {
    enum Statements {
        static let all = [tryLock, insert, select, standings, record, finish]

        static let tryLock = SQLStatement(
            "redrive_try_lock",
            """
            SELECT pg_try_advisory_lock($1, hashtext($2)) AS locked
            """
        )

        /// One that goes on has no end yet; one that is done stays so.
        static let insert = SQLStatement(
            "redrive_insert",
            """
            INSERT INTO redrives (id, selection, requested_by, started_at)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT (id) DO UPDATE SET finished_at = NULL, result = NULL
            WHERE redrives.selection = excluded.selection AND redrives.result IS DISTINCT FROM 'DONE'
            """
        )

        static let select = SQLStatement(
            "redrive_select",
            """
            SELECT r.id, r.selection, r.requested_by, r.started_at, r.finished_at, r.result,
                (SELECT count(*) FROM redriven_events e WHERE e.redrive_id = r.id) AS redriven
            FROM redrives r
            WHERE r.id = $1
            """
        )

        /// A dead letter that a later redrive has brought back is younger than what this one has sent.
        static let standings = SQLStatement(
            "redrive_standings",
            """
            SELECT sent.event_id IS NOT NULL OR c.last_redrive IS NOT DISTINCT FROM $1 AS is_sent,
                coalesce(c.last_redrive IS NULL OR prior.redriven_at < sent.redriven_at, false) AS is_before,
                EXISTS (
                    SELECT FROM event_deliveries d WHERE d.order_id = c.order_id AND d.event_id = c.event_id
                ) AS is_delivered
            FROM unnest($2::uuid[], $3::uuid[], $4::text[]) WITH ORDINALITY
                AS c (event_id, order_id, last_redrive, number)
            LEFT JOIN redriven_events sent ON sent.redrive_id = $1 AND sent.event_id = c.event_id
            LEFT JOIN redriven_events prior ON prior.redrive_id = c.last_redrive AND prior.event_id = c.event_id
            ORDER BY c.number
            """
        )

        static let record = SQLStatement(
            "redrive_record",
            """
            INSERT INTO redriven_events (redrive_id, event_id, order_id, redriven_at)
            SELECT $1, event.event_id, event.order_id, $4
            FROM unnest($2::uuid[], $3::uuid[]) AS event (event_id, order_id)
            ON CONFLICT (redrive_id, event_id) DO NOTHING
            """
        )

        static let finish = SQLStatement(
            "redrive_finish",
            """
            UPDATE redrives
            SET result = $2, finished_at = $3,
                redriven = (SELECT count(*) FROM redriven_events WHERE redrive_id = $1)
            WHERE id = $1
            """
        )
    }
}
