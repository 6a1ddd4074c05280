package import FoundationEssentials
package import OrderDomain
package import Postgres

/// The relay's side of the outbox: who owns a shard, what is new in it, how far it has been confirmed.
///
/// What is new is what `target` sees and `base` did not (two `pg_snapshot`s; the algorithm of PgQ): an event of a
/// transaction that commits late comes in a later batch, and holds up nobody else's.
package enum OutboxStore {
    /// How many shards there are; events of one order share one. The schema checks it.
    package static let shards: ClosedRange<Int16> = 0...7
    /// How many events a page has at most.
    package static let pageLimit = 500
    /// The first half of the advisory lock's key; the second is the shard.
    private static let lockClass: Int32 = 7_001

    /// How far a shard has been confirmed.
    package struct Cursor: Hashable, Sendable {
        package let shard: Int16
        /// Everything that this snapshot sees is confirmed.
        package var base: String
        /// The snapshot that is being worked off.
        package var target: String
        /// Of what lies between the two, everything up to this id is confirmed.
        package var afterID: Int64

        /// Whether nothing lies between `base` and `target`.
        package var isAtRest: Bool { base == target }
    }

    /// An event with its place in the outbox.
    package struct Entry: Hashable, Sendable {
        package let id: Int64
        package let event: OutboxEvent
    }

    /// The shard of an order's events: the last byte of a UUIDv7 is random, so the shards fill evenly.
    package static func shard(of order: OrderID) -> Int16 {
        Int16(order.uuid.uuid.15 % 8)
    }

    /// Takes a shard for this connection's session, if it is free; losing the connection gives it back.
    package static func tryLock(
        shard: Int16,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        let rows = try await connection.query(
            Statements.tryLock,
            [.int32(lockClass), .int32(Int32(shard))],
            deadline: deadline
        )
        return try rows[rows.startIndex].get("locked")
    }

    /// The cursor of a shard; read it only with the shard's lock held.
    package static func cursor(
        of shard: Int16,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Cursor? {
        let rows = try await connection.query(Statements.readCursor, [.int16(shard)], deadline: deadline)
        return try rows.first.map {
            Cursor(
                shard: shard,
                base: try $0.get("base"),
                target: try $0.get("target"),
                afterID: try $0.get("after_id")
            )
        }
    }

    /// What is visible now.
    package static func currentSnapshot(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> String {
        let rows = try await connection.query(Statements.currentSnapshot, deadline: deadline)
        return try rows[rows.startIndex].get("snapshot")
    }

    /// The next events between the cursor's two snapshots, by id, at most ``pageLimit``.
    package static func page(
        _ cursor: Cursor,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [Entry] {
        try await connection.query(
            Statements.readPage,
            [
                .int16(cursor.shard), .text(cursor.base), .text(cursor.target), .int64(cursor.afterID),
                .int64(Int64(pageLimit)),
            ],
            deadline: deadline
        )
        .map(Entry.init(row:))
    }

    /// Saves a cursor on the connection that holds the shard's lock: who has lost the lock cannot move it.
    package static func save(
        _ cursor: Cursor,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        _ = try await connection.query(
            Statements.saveCursor,
            [
                .int16(cursor.shard), .text(cursor.base), .text(cursor.target), .int64(cursor.afterID),
                .timestamp(now),
            ],
            deadline: deadline
        )
    }

    /// How many events are not confirmed yet, and when the oldest of them happened.
    package static func pending(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> (count: Int64, oldest: Date?) {
        let rows = try await connection.query(Statements.pending, deadline: deadline)
        let row = rows[rows.startIndex]
        return (try row.get("pending"), try row.get("oldest"))
    }
}

extension OutboxStore.Entry {
    fileprivate init(row: PostgresRow) throws {
        id = try row.get("id")
        event = OutboxEvent(
            id: try row.get("event_id"),
            orderID: try row.orderID("order_id"),
            sequence: Int(try row.get("sequence", as: Int32.self)),
            type: try row.get("type"),
            occurredAt: try row.get("occurred_at"),
            traceparent: try row.get("traceparent"),
            data: try row.get("data")
        )
    }
}

extension OutboxStore {
    enum Statements {
        static let all = [tryLock, readCursor, currentSnapshot, readPage, saveCursor, pending]

        static let tryLock = SQLStatement(
            "outbox_try_lock",
            """
            SELECT pg_try_advisory_lock($1, $2) AS locked
            """
        )

        static let readCursor = SQLStatement(
            "outbox_read_cursor",
            """
            SELECT base::text AS base, target::text AS target, after_id
            FROM outbox_cursors
            WHERE shard = $1
            """
        )

        static let currentSnapshot = SQLStatement(
            "outbox_current_snapshot",
            """
            SELECT pg_current_snapshot()::text AS snapshot
            """
        )

        /// The two conditions on txid are what the index serves: transactions that began after `base`, and those that
        /// were running then. The two on visibility decide.
        static let readPage = SQLStatement(
            "outbox_read_page",
            """
            WITH page AS (
                SELECT id, order_id, sequence
                FROM outbox_events
                WHERE shard = $1
                    AND (txid >= pg_snapshot_xmax($2::text::pg_snapshot)
                        OR txid = ANY (ARRAY(SELECT pg_snapshot_xip($2::text::pg_snapshot))))
                    AND txid < pg_snapshot_xmax($3::text::pg_snapshot)
                    AND pg_visible_in_snapshot(txid, $3::text::pg_snapshot)
                    AND NOT pg_visible_in_snapshot(txid, $2::text::pg_snapshot)
                    AND id > $4
                ORDER BY id
                LIMIT $5
            )
            SELECT e.id, e.event_id, e.order_id, e.sequence, e.type, e.occurred_at, e.traceparent, e.data
            FROM page
            JOIN outbox_events e ON e.order_id = page.order_id AND e.sequence = page.sequence
            ORDER BY e.id
            """
        )

        static let saveCursor = SQLStatement(
            "outbox_save_cursor",
            """
            UPDATE outbox_cursors
            SET base = $2::text::pg_snapshot, target = $3::text::pg_snapshot, after_id = $4, updated_at = $5
            WHERE shard = $1
            """
        )

        /// Counts at most 10,000 a shard and condition: beyond that the number says "too many" all the same.
        ///
        /// Two branches, each with an index condition of its own, the first in the index's order: as one condition
        /// with OR under a LIMIT the planner reads the whole table, which it does not expect to be nearly all done.
        static let pending = SQLStatement(
            "outbox_pending",
            """
            SELECT coalesce(sum(waiting.count), 0)::bigint AS pending, min(waiting.oldest) AS oldest
            FROM outbox_cursors c
            CROSS JOIN LATERAL (
                SELECT count(*) AS count, min(occurred_at) AS oldest
                FROM (
                    (
                        SELECT e.occurred_at
                        FROM outbox_events e
                        WHERE e.shard = c.shard
                            AND e.txid >= pg_snapshot_xmax(c.base)
                            AND NOT (e.id <= c.after_id AND pg_visible_in_snapshot(e.txid, c.target))
                        ORDER BY e.shard, e.txid
                        LIMIT 10000
                    )
                    UNION ALL
                    (
                        SELECT e.occurred_at
                        FROM pg_snapshot_xip(c.base) AS running (txid)
                        JOIN outbox_events e ON e.shard = c.shard AND e.txid = running.txid
                        WHERE NOT (e.id <= c.after_id AND pg_visible_in_snapshot(e.txid, c.target))
                        LIMIT 10000
                    )
                ) unconfirmed
            ) waiting
            """
        )
    }
}
