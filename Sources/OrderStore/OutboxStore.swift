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
    /// The longest reason kept with a parked event, in code points. The schema checks it.
    private static let reasonLimit = 500
    /// The first half of the advisory locks' keys; the second is the shard.
    static let lockClass: Int32 = 7_001
    /// The second half for the lock that all relays share, by which they count each other.
    private static let relayKey: Int32 = 8

    /// How far a shard has been confirmed.
    package struct Cursor: Hashable, Sendable {
        package let shard: Int16
        /// The number of the shard's last confirmation.
        package var number: Int64
        /// Everything that this snapshot sees is confirmed.
        package var base: String
        /// The snapshot that is being worked off.
        package var target: String
        /// Of what lies between the two, everything up to this id is confirmed.
        package var afterID: Int64
        /// The highest id that was ever confirmed.
        package var lastID: Int64

        /// Whether nothing lies between `base` and `target`.
        package var isAtRest: Bool { base == target }

        /// Everything up to `target` is confirmed.
        package mutating func finish() {
            base = target
            afterID = 0
        }
    }

    /// Where an event stands, without the event.
    package struct Place: Hashable, Sendable {
        package let id: Int64
        fileprivate let slot: Int16
        package let order: UUID
        fileprivate let sequence: Int32
    }

    /// An event with its place in the outbox.
    package struct Entry: Hashable, Sendable {
        package let id: Int64
        package let shard: Int16
        package let event: OutboxEvent
    }

    /// What there is to do in a shard.
    package struct View: Sendable {
        package let shard: Int16
        /// What was looked at: the cursor's target, or what is visible now where the cursor was at rest.
        package let target: String
        /// The first events between base and target, by id.
        package let places: [Place]
    }

    /// The shard of an order's events: the last byte of a UUIDv7 is random, so the shards fill evenly.
    package static func shard(of order: OrderID) -> Int16 {
        Int16(order.uuid.uuid.15 % 8)
    }

    /// Prepares a connection's session for relaying, and makes it count as a relay for as long as it lives.
    ///
    /// Statements have one plan each, and 30 s. A session that asks nothing for 10 s is ended by the server: so a
    /// process that is stopped, or out of reach, loses its shards to others.
    package static func enlist(_ connection: PostgresConnection, deadline: ContinuousClock.Instant) async throws {
        _ = try await connection.query(
            Statements.enlist,
            [.int32(lockClass), .int32(relayKey)],
            deadline: deadline
        )
    }

    /// Makes a connection's session count as a relay no longer, and gives back all of its shards.
    package static func resign(_ connection: PostgresConnection, deadline: ContinuousClock.Instant) async throws {
        _ = try await connection.query(Statements.resign, deadline: deadline)
    }

    /// How many relays there are, this one included, which shards none of them has, and what is visible now.
    package static func relays(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> (count: Int, freeShards: [Int16], snapshot: String) {
        let rows = try await connection.query(Statements.relays, [.int32(lockClass)], deadline: deadline)
        let keys = try rows.map { Int16(try $0.get("key", as: Int32.self)) }
        let taken = Set(keys)
        let snapshot = try rows.first.map { try $0.get("snapshot", as: String.self) } ?? ""
        return (keys.count { $0 == Int16(relayKey) }, shards.filter { !taken.contains($0) }, snapshot)
    }

    /// Takes those of the shards that are free for this connection's session; losing the connection gives them back.
    ///
    /// A shard whose last confirmation was written in another cluster or database (a restored dump) is begun anew: what
    /// is not confirmed counts as if it had been committed now, because old transaction ids say nothing here. One that
    /// has no confirmation at all has nothing confirmed.
    /// - Returns: the cursors of the shards that were taken.
    package static func take(
        _ wanted: [Int16],
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [Cursor] {
        let attempts = try await connection.pipeline(
            wanted.map { PostgresStep(Statements.tryLock, [.int32(lockClass), .int32(Int32($0))]) },
            deadline: deadline
        )
        let taken = try zip(wanted, attempts).filter { try $0.1[0].get("locked") }.map(\.0)
        guard !taken.isEmpty else { return [] }
        // Read with the locks held: nobody else can move them any more.
        let rows = try await connection.query(Statements.readCursors, [.int16Array(taken)], deadline: deadline)
        let foreign = try rows.filter { try $0.get("is_foreign") }.map { try $0.get("shard", as: Int16.self) }
        if foreign.isEmpty { return try rows.map(Cursor.init(row:)) }
        for shard in foreign { try await beginAnew(shard, at: now, on: connection) }
        return try await connection.query(
            Statements.readCursors,
            [.int16Array(taken)],
            deadline: .now + beginAnewTimeout
        )
        .map(Cursor.init(row:))
    }

    /// How long a shard may take to begin anew, once after a dump was restored: all of its events are looked at.
    private static let beginAnewTimeout = Duration.seconds(120)

    private static func beginAnew(_ shard: Int16, at now: Date, on connection: PostgresConnection) async throws {
        _ = try await connection.pipeline(
            [
                PostgresStep(.begin), PostgresStep(Statements.allowTwoMinutes),
                PostgresStep(Statements.beginAnew, [.int16(shard), .timestamp(now)]), PostgresStep(.commit),
            ],
            deadline: .now + beginAnewTimeout
        )
    }

    /// Gives shards back that this connection's session has.
    package static func release(
        _ shards: [Int16],
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        _ = try await connection.pipeline(
            shards.map { PostgresStep(Statements.unlock, [.int32(lockClass), .int32(Int32($0))]) },
            deadline: deadline
        )
    }

    /// Where the next events of each cursor's shard stand, at most `limit` a shard.
    ///
    /// One statement for all, so that they look at one moment; cursors at rest look at what is visible now. Each look
    /// goes through the whole backlog once, in the index alone: about a second for five million events.
    package static func look(
        _ cursors: [Cursor],
        limit: Int,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [View] {
        let rows = try await connection.query(
            Statements.look,
            [
                .int16Array(cursors.map(\.shard)), .textArray(cursors.map(\.base)),
                .textArray(cursors.map { $0.isAtRest ? nil : $0.target }), .int64Array(cursors.map(\.afterID)),
                .int64(Int64(limit)),
            ],
            deadline: deadline
        )
        let rowsOfShards = try Dictionary(grouping: rows) { try $0.get("shard", as: Int16.self) }
        return try rowsOfShards.sorted { $0.key < $1.key }.map { shard, rows in
            View(
                shard: shard,
                target: try rows[0].get("target"),
                places: try rows.compactMap(Place.init(row:))
            )
        }
    }

    /// The events that stand at these places, by shard and id; what is not there any more is left out.
    package static func events(
        at places: [Place],
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [Entry] {
        try await connection.query(
            Statements.readEvents,
            [
                .int16Array(places.map(\.slot)), .uuidArray(places.map(\.order)),
                .int32Array(places.map(\.sequence)),
            ],
            deadline: deadline
        )
        .map(Entry.init(row:))
    }

    /// Notes how far shards are confirmed, and what of them was parked with which reason, all or none.
    ///
    /// On the connection that holds the shards' locks: who has lost a lock has lost the connection too.
    /// - Parameter cursors: with the numbers of these confirmations, one more than those of the last.
    package static func save(
        _ cursors: [Cursor],
        parking parked: [(entry: Entry, reason: String)] = [],
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        let acks = PostgresStep(
            Statements.insertAcks,
            [
                .int16Array(cursors.map(\.shard)), .int64Array(cursors.map(\.number)),
                .textArray(cursors.map(\.base)), .textArray(cursors.map(\.target)),
                .int64Array(cursors.map(\.afterID)), .int64Array(cursors.map(\.lastID)), .timestamp(now),
            ]
        )
        let parkings = parked.map { entry, reason in
            PostgresStep(
                Statements.park,
                [
                    .uuid(entry.event.id), .int64(entry.id), .int16(entry.shard), .uuid(entry.event.orderID.uuid),
                    .int32(Int32(entry.event.sequence)), .text(entry.event.type),
                    .timestamp(entry.event.occurredAt), entry.event.traceparent.map { .text($0) } ?? .null,
                    .json(entry.event.data), .text(reason.storable(limit: reasonLimit)), .timestamp(now),
                ]
            )
        }
        // Steps outside of a transaction are one transaction.
        _ = try await connection.pipeline(parkings + [acks], deadline: deadline)
    }

    /// What waits in the outbox.
    package struct Pending: Sendable {
        /// Events that are not confirmed yet; a shard's are counted up to 10,000.
        package let count: Int64
        /// Whether a shard has more than are counted.
        package let isAtLeast: Bool
        /// When the oldest of them happened.
        package let oldest: Date?
        /// Events that the broker can never take.
        package let parked: Int64
    }

    /// Counts what waits; throws `PostgresError`.
    package static func pending(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Pending {
        let rows = try await connection.query(Statements.pending, deadline: deadline)
        let row = rows[rows.startIndex]
        return Pending(
            count: try row.get("pending"),
            isAtLeast: try row.get("is_at_least"),
            oldest: try row.get("oldest"),
            parked: try row.get("parked")
        )
    }
}

extension OutboxStore.Cursor {
    fileprivate init(row: PostgresRow) throws {
        shard = try row.get("shard")
        number = try row.get("n")
        base = try row.get("base")
        target = try row.get("target")
        afterID = try row.get("after_id")
        lastID = try row.get("last_id")
    }
}

extension OutboxStore.Place {
    /// Nil for the row of a shard that has none.
    fileprivate init?(row: PostgresRow) throws {
        guard let id = try row.get("id", as: Int64?.self) else { return nil }
        self.id = id
        slot = try row.get("slot")
        order = try row.get("order_id")
        sequence = try row.get("sequence")
    }
}

extension OutboxStore.Entry {
    fileprivate init(row: PostgresRow) throws {
        id = try row.get("id")
        shard = try row.get("shard")
        event = try OutboxEvent(row: row)
    }
}

extension OutboxEvent {
    /// From a row of the outbox or of what is parked.
    init(row: PostgresRow) throws {
        self.init(
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
        static let all =
            [
                enlist, resign, relays, tryLock, unlock, readCursors, allowTwoMinutes, beginAnew, look, readEvents,
                insertAcks,
                park, pending,
            ] + parked + rotation

        static let enlist = SQLStatement(
            "outbox_enlist",
            """
            SELECT pg_try_advisory_lock_shared($1, $2) AS is_relay,
                   set_config('idle_session_timeout', '10s', false) AS idle_timeout,
                   set_config('statement_timeout', '30s', false) AS statement_timeout,
                   set_config('plan_cache_mode', 'force_generic_plan', false) AS plans,
                   set_config('enable_seqscan', 'off', false) AS sequential_scans,
                   set_config('enable_bitmapscan', 'off', false) AS bitmap_scans,
                   set_config('enable_hashjoin', 'off', false) AS hash_joins,
                   set_config('enable_mergejoin', 'off', false) AS merge_joins,
                   set_config('jit', 'off', false) AS compilation
            """
        )

        static let resign = SQLStatement(
            "outbox_resign",
            """
            SELECT pg_advisory_unlock_all()::text AS unlocked
            """
        )

        static let relays = SQLStatement(
            "outbox_relays",
            """
            SELECT l.objid::bigint::integer AS key, pg_current_snapshot()::text AS snapshot
            FROM pg_locks l
            JOIN pg_database d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
                AND l.classid::bigint = $1::integer
            """
        )

        static let tryLock = SQLStatement(
            "outbox_try_lock",
            """
            SELECT pg_try_advisory_lock($1, $2) AS locked
            """
        )

        static let unlock = SQLStatement(
            "outbox_unlock",
            """
            SELECT pg_advisory_unlock($1, $2) AS unlocked
            """
        )

        static let readCursors = SQLStatement(
            "outbox_read_cursors",
            """
            SELECT wanted.shard, a.n, a.base::text AS base, a.target::text AS target, a.after_id, a.last_id,
                   a.epoch IS DISTINCT FROM outbox_epoch() AS is_foreign
            FROM unnest($1::smallint[]) AS wanted (shard)
            LEFT JOIN LATERAL (
                SELECT n, base, target, after_id, last_id, epoch
                FROM outbox_acks
                WHERE shard = wanted.shard
                ORDER BY n DESC
                LIMIT 1
            ) AS a ON true
            ORDER BY wanted.shard
            """
        )

        static let allowTwoMinutes = SQLStatement(
            "outbox_allow_two_minutes",
            """
            SELECT set_config('statement_timeout', '2min', true) AS statement_timeout
            """
        )

        /// What counts as confirmed is what the old cursor says of the old rows, which is as true here as there. What
        /// the new cluster has inserted already has a higher id than any of them, whatever its txid looks like.
        ///
        /// The transaction gets its id here, after the statement's snapshot was taken: so the new base sees none of it.
        static let beginAnew = SQLStatement(
            "outbox_begin_anew",
            """
            WITH last AS (
                SELECT coalesce(a.n, 0) AS n, a.base, a.target, a.after_id, coalesce(a.last_id, 0) AS last_id
                FROM (SELECT $1::smallint AS shard) AS begun
                LEFT JOIN LATERAL (
                    SELECT n, base, target, after_id, last_id
                    FROM outbox_acks
                    WHERE shard = begun.shard
                    ORDER BY n DESC
                    LIMIT 1
                ) AS a ON true
            ), unconfirmed AS (
                UPDATE outbox_events e
                SET txid = pg_current_xact_id()
                FROM last
                WHERE e.shard = $1
                    AND (e.id > last.last_id
                        OR NOT (pg_visible_in_snapshot(e.txid, last.base)
                            OR e.id <= last.after_id AND pg_visible_in_snapshot(e.txid, last.target)))
                RETURNING 1
            )
            INSERT INTO outbox_acks (shard, slot, n, base, target, after_id, last_id, epoch, at)
            SELECT $1, outbox_slot($2), n + 1, pg_current_snapshot(), pg_current_snapshot(), 0, last_id,
                   outbox_epoch(), $2
            FROM last
            """
        )

        /// Two branches, each with an index condition of its own: transactions that began after `base`, and those that
        /// were running then. Read from the index alone; OFFSET 0 keeps a planner that has seen the table empty from
        /// reading all of the shard into a hash for the few of the second branch.
        ///
        /// The target is always a real snapshot, however large the backlog. One that is cut at a transaction id would
        /// see an order's later change without the earlier one, whose transaction may have the higher id: it got the
        /// order's lock first all the same.
        static let look = SQLStatement(
            "outbox_look",
            """
            WITH cursor AS MATERIALIZED (
                SELECT shard, base::pg_snapshot AS base, coalesce(target::pg_snapshot, pg_current_snapshot()) AS target,
                       after_id
                FROM unnest($1::smallint[], $2::text[], $3::text[], $4::bigint[])
                    AS given (shard, base, target, after_id)
            )
            SELECT cursor.shard, cursor.target::text AS target, place.id, place.slot, place.order_id, place.sequence
            FROM cursor
            LEFT JOIN LATERAL (
                SELECT id, slot, order_id, sequence
                FROM (
                    SELECT began.id, began.slot, began.order_id, began.sequence
                    FROM outbox_events began
                    WHERE began.shard = cursor.shard
                        AND began.txid >= pg_snapshot_xmax(cursor.base)
                        AND began.txid < pg_snapshot_xmax(cursor.target)
                        AND began.id > cursor.after_id
                        AND pg_visible_in_snapshot(began.txid, cursor.target)
                    UNION ALL
                    SELECT ended.id, ended.slot, ended.order_id, ended.sequence
                    FROM pg_snapshot_xip(cursor.base) AS running (txid)
                    CROSS JOIN LATERAL (
                        SELECT e.id, e.slot, e.order_id, e.sequence
                        FROM outbox_events e
                        WHERE e.shard = cursor.shard
                            AND e.txid = running.txid
                            AND e.id > cursor.after_id
                            AND pg_visible_in_snapshot(e.txid, cursor.target)
                        OFFSET 0
                    ) AS ended
                ) AS unconfirmed
                ORDER BY id
                LIMIT $5
            ) AS place ON true
            ORDER BY cursor.shard, place.id
            """
        )

        static let readEvents = SQLStatement(
            "outbox_read_events",
            """
            SELECT e.id, e.shard, e.event_id, e.order_id, e.sequence, e.type, e.occurred_at, e.traceparent, e.data
            FROM unnest($1::smallint[], $2::uuid[], $3::integer[]) AS place (slot, order_id, sequence)
            JOIN outbox_events e
                ON e.slot = place.slot AND e.order_id = place.order_id AND e.sequence = place.sequence
            ORDER BY e.shard, e.id
            """
        )

        static let insertAcks = SQLStatement(
            "outbox_insert_acks",
            """
            INSERT INTO outbox_acks (shard, slot, n, base, target, after_id, last_id, epoch, at)
            SELECT shard, outbox_slot($7), n, base::pg_snapshot, target::pg_snapshot, after_id, last_id,
                   outbox_epoch(), $7
            FROM unnest($1::smallint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
                AS new (shard, n, base, target, after_id, last_id)
            """
        )

        /// An event that was given back and refused once more waits again.
        static let park = SQLStatement(
            "outbox_park",
            """
            INSERT INTO outbox_parked
                (event_id, id, shard, order_id, sequence, type, occurred_at, traceparent, data, reason, parked_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            ON CONFLICT (event_id) DO UPDATE
            SET reason = excluded.reason, parked_at = excluded.parked_at, redriven_at = NULL
            """
        )

        /// Counts at most 10,000 a shard and condition: beyond that the number says "too many" all the same.
        ///
        /// Two branches, each with an index condition of its own, the first in the index's order: as one condition
        /// with OR under a LIMIT the planner reads the whole table, which it does not expect to be nearly all done.
        /// What has a txid of the future came with a restored dump, and was confirmed.
        static let pending = SQLStatement(
            "outbox_pending",
            """
            SELECT coalesce(sum(waiting.count), 0)::bigint AS pending,
                   coalesce(bool_or(waiting.count >= 10000), false) AS is_at_least, min(waiting.oldest) AS oldest,
                   (SELECT count(*) FROM outbox_parked WHERE redriven_at IS NULL) AS parked
            FROM generate_series(0, 7) AS owned (shard)
            CROSS JOIN LATERAL (
                SELECT shard, base, target, after_id
                FROM outbox_acks
                WHERE shard = owned.shard::smallint
                ORDER BY n DESC
                LIMIT 1
            ) AS c
            CROSS JOIN LATERAL (
                SELECT count(*) AS count, min(occurred_at) AS oldest
                FROM (
                    (
                        SELECT e.occurred_at
                        FROM outbox_events e
                        WHERE e.shard = c.shard
                            AND e.txid >= pg_snapshot_xmax(c.base)
                            AND e.txid < pg_snapshot_xmax(pg_current_snapshot())
                            AND NOT (e.id <= c.after_id AND pg_visible_in_snapshot(e.txid, c.target))
                        ORDER BY e.shard, e.txid
                        LIMIT 10000
                    )
                    UNION ALL
                    (
                        SELECT e.occurred_at
                        FROM pg_snapshot_xip(c.base) AS running (txid)
                        CROSS JOIN LATERAL (
                            SELECT occurred_at
                            FROM outbox_events
                            WHERE shard = c.shard
                                AND txid = running.txid
                                AND NOT (id <= c.after_id AND pg_visible_in_snapshot(txid, c.target))
                            OFFSET 0
                        ) AS e
                        LIMIT 10000
                    )
                ) unconfirmed
            ) waiting
            """
        )
    }
}
