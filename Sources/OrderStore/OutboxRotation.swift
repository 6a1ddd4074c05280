package import FoundationEssentials
package import Postgres

/// Emptying the oldest slot of the outbox once nobody needs it.
///
/// A slot is a partition of events and one of confirmations, filled for six hours; there are four. TRUNCATE takes no
/// time and leaves no dead tuples, however old the oldest transaction of the server is.
extension OutboxStore {
    /// How long events and confirmations are kept at least.
    package static let retention: TimeInterval = 12 * 3_600
    /// How much the clocks of order-api and PostgreSQL may differ.
    private static let clockTolerance: TimeInterval = 3_600

    /// Empties the oldest slot when there is something in it, every event in it is confirmed, and all of it is older
    /// than ``retention``.
    ///
    /// Waits for nobody longer than 50 ms (an audit reads the slot; a transaction that began in its time is open), and
    /// then leaves it for the next time. Orders that are committed meanwhile go into another slot.
    /// - Parameter now: the time, by which the oldest slot is found.
    /// - Returns: the slot that was emptied; nil when none was.
    package static func rotate(
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int16? {
        let cutoff = PostgresValue.timestamp(now - retention)
        let rows = try await connection.query(Statements.oldestSlot, [.timestamp(now), cutoff], deadline: deadline)
        let slot: Int16 = try rows[rows.startIndex].get("slot")
        guard try rows[rows.startIndex].get("is_due"), let emptying = Statements.emptyings[slot] else { return nil }
        do {
            // Looked at again behind the lock: whoever was still writing into the slot has committed by then.
            let locked = try await connection.pipeline(
                [
                    PostgresStep(.begin), PostgresStep(Statements.waitBriefly), PostgresStep(emptying.lock),
                    PostgresStep(Statements.oldestSlot, [.timestamp(now), cutoff]),
                ],
                deadline: deadline
            )
            guard try locked[3][0].get("is_due") else {
                _ = try await connection.query(.rollback, deadline: deadline)
                return nil
            }
            _ = try await connection.pipeline(
                [
                    PostgresStep(
                        Statements.insertRotation,
                        [.timestamp(now), .int16(slot), .timestamp(now - retention + clockTolerance)]
                    ),
                    PostgresStep(emptying.truncate), PostgresStep(.commit),
                ],
                deadline: deadline
            )
            return slot
        } catch {
            guard error.sqlState == .lockNotAvailable else { throw error }
            _ = try await connection.query(.rollback, deadline: deadline)
            return nil
        }
    }
}

extension OutboxStore.Statements {
    static let rotation =
        [oldestSlot, waitBriefly, insertRotation] + emptyings.values.flatMap { [$0.lock, $0.truncate] }

    /// The slot after the one that is being filled.
    ///
    /// A shard is done with it when its last confirmation stands in another slot, and `base` sees each of the slot's
    /// events: those below its xmin, beside which no transaction was running. What has a txid of the future came with
    /// a restored dump, and is confirmed once the shard has a confirmation of this cluster.
    static let oldestSlot = SQLStatement(
        "outbox_oldest_slot",
        """
        SELECT oldest.slot,
               (EXISTS (SELECT FROM outbox_events e WHERE e.slot = oldest.slot)
                   OR EXISTS (SELECT FROM outbox_acks a WHERE a.slot = oldest.slot))
               AND (
                   SELECT count(*) = 8 AND bool_and(
                       c.slot <> oldest.slot
                       AND c.epoch = outbox_epoch()
                       AND NOT EXISTS (
                           SELECT
                           FROM outbox_events e
                           WHERE e.slot = oldest.slot AND e.shard = c.shard
                               AND e.txid >= pg_snapshot_xmin(c.base)
                               AND e.txid < pg_snapshot_xmax(pg_current_snapshot())
                       )
                       AND NOT EXISTS (
                           SELECT
                           FROM (
                               SELECT e.occurred_at
                               FROM outbox_events e
                               WHERE e.slot = oldest.slot AND e.shard = c.shard
                               ORDER BY e.txid DESC
                               LIMIT 1
                           ) AS newest
                           WHERE newest.occurred_at > $2
                       )
                       AND NOT EXISTS (
                           SELECT
                           FROM (
                               SELECT a.at
                               FROM outbox_acks a
                               WHERE a.slot = oldest.slot AND a.shard = c.shard
                               ORDER BY a.n DESC
                               LIMIT 1
                           ) AS newest
                           WHERE newest.at > $2
                       )
                   )
                   FROM generate_series(0, 7) AS owned (shard)
                   CROSS JOIN LATERAL (
                       SELECT shard, slot, base, epoch
                       FROM outbox_acks
                       WHERE shard = owned.shard::smallint
                       ORDER BY n DESC
                       LIMIT 1
                   ) AS c
               ) AS is_due
        FROM (SELECT ((outbox_slot($1) + 1) % 4)::smallint AS slot) AS oldest
        """
    )

    static let waitBriefly = SQLStatement(
        "outbox_wait_briefly",
        """
        SELECT set_config('lock_timeout', '50ms', true) AS lock_timeout
        """
    )

    static let insertRotation = SQLStatement(
        "outbox_insert_rotation",
        """
        INSERT INTO outbox_rotations (rotated_at, slot, events_until) VALUES ($1, $2, $3)
        """
    )

    /// Names of tables are no parameters.
    static let emptyings: [Int16: (lock: SQLStatement, truncate: SQLStatement)] = [
        0: (
            SQLStatement("outbox_lock_0", "LOCK TABLE outbox_events_0, outbox_acks_0 IN ACCESS EXCLUSIVE MODE"),
            SQLStatement("outbox_truncate_0", "TRUNCATE outbox_events_0, outbox_acks_0")
        ),
        1: (
            SQLStatement("outbox_lock_1", "LOCK TABLE outbox_events_1, outbox_acks_1 IN ACCESS EXCLUSIVE MODE"),
            SQLStatement("outbox_truncate_1", "TRUNCATE outbox_events_1, outbox_acks_1")
        ),
        2: (
            SQLStatement("outbox_lock_2", "LOCK TABLE outbox_events_2, outbox_acks_2 IN ACCESS EXCLUSIVE MODE"),
            SQLStatement("outbox_truncate_2", "TRUNCATE outbox_events_2, outbox_acks_2")
        ),
        3: (
            SQLStatement("outbox_lock_3", "LOCK TABLE outbox_events_3, outbox_acks_3 IN ACCESS EXCLUSIVE MODE"),
            SQLStatement("outbox_truncate_3", "TRUNCATE outbox_events_3, outbox_acks_3")
        ),
    ]
}
