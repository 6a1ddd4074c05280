package import Postgres

/// What a ledger needs that a dump has brought from another cluster.
///
/// Transactions have numbers of their cluster. In one that has given out fewer, the rows of the dump seem to be of the
/// future: no run can go on from the one before, and none can be verified, until the numbers have come that far. So the
/// rows are frozen, as VACUUM does it with old ones: they get the number of a transaction that every snapshot sees.
extension RankingStore {
    /// How many rows one transaction freezes: locks and WAL of a moment.
    private static let frozenRows: Int64 = 5_000

    /// Freezes the rows of another cluster's transactions; the next run counts the ledger anew.
    ///
    /// No run begins meanwhile, and it waits for one that is going on. Needs the rights of the schema's owner. May be
    /// stopped at any time and said again.
    /// - Returns: how many rows were frozen; among them may be some that were sold here meanwhile, which does no harm.
    /// - Throws: `PostgresError`, and then the connection is closed; what earlier batches froze stays frozen.
    package static func freezeLedger(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int64 {
        do {
            _ = try await connection.pipeline(
                [
                    PostgresStep(FreezeStatements.waitForRuns),
                    PostgresStep(FreezeStatements.lock, [.int64(lockKey)]),
                ],
                deadline: deadline
            )
            let frozen = try await freezeAll(on: connection, deadline: deadline)
            _ = try await connection.query(Statements.unlock, [.int64(lockKey)], deadline: deadline)
            return frozen
        } catch {
            await connection.close()
            throw error
        }
    }

    private static func freezeAll(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int64 {
        guard let bounds = try await connection.query(FreezeStatements.bounds, deadline: deadline).first else {
            return 0
        }
        var first: String = try bounds.get("first")
        let last: String = try bounds.get("last")
        // Before the first row changes, so that no run goes on from one that has counted it under its old number.
        _ = try await connection.query(FreezeStatements.forbidGoingOn, deadline: deadline)
        var frozen: Int64 = 0
        while true {
            let batch = try await connection.pipeline(
                [
                    PostgresStep(.begin), PostgresStep(Statements.planForNewRows),
                    PostgresStep(FreezeStatements.freeze, [.text(first), .text(last), .int64(frozenRows)]),
                    PostgresStep(.commit),
                ],
                deadline: deadline
            )[2]
            let rows: Int64 = try batch[0].get("rows")
            frozen += rows
            guard rows == frozenRows else { return frozen }
            first = try batch[0].get("last")
        }
    }
}

extension RankingStore {
    enum FreezeStatements {
        static let all = [waitForRuns, lock, bounds, forbidGoingOn, freeze]

        /// As long as the deadline lets it: the owner's own limit is shorter than a run that counts everything.
        static let waitForRuns = SQLStatement(
            "ranking_wait_for_runs",
            """
            SELECT set_config('lock_timeout', '0', false)
            """
        )

        static let lock = SQLStatement(
            "ranking_lock",
            """
            SELECT true AS locked FROM pg_advisory_lock($1)
            """
        )

        /// No row where no number is too high. From the oldest transaction on that is going on here: a row of the dump
        /// may have its number too.
        static let bounds = SQLStatement(
            "ranking_freeze_bounds",
            """
            SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS first, newest.txid::text AS last
            FROM (SELECT txid FROM sales_ledger ORDER BY txid DESC LIMIT 1) newest
            WHERE newest.txid >= pg_snapshot_xmax(pg_current_snapshot())
            """
        )

        static let forbidGoingOn = SQLStatement(
            "ranking_forbid_going_on",
            """
            UPDATE aggregation_runs
            SET has_foreign_rows = true
            WHERE id = (SELECT max(id) FROM aggregation_runs)
            """
        )

        /// 2 is the number that PostgreSQL keeps for what is frozen. Goes on from the last batch's last number, since
        /// what was frozen before stands in the index until a vacuum.
        static let freeze = SQLStatement(
            "ranking_freeze",
            """
            WITH batch AS MATERIALIZED (
                SELECT ctid AS place, txid
                FROM sales_ledger
                WHERE txid >= $1::text::xid8 AND txid <= $2::text::xid8
                ORDER BY txid
                LIMIT $3
            ), frozen AS (
                UPDATE sales_ledger
                SET txid = '2'
                WHERE ctid = ANY (ARRAY(SELECT place FROM batch))
            )
            SELECT count(*) AS rows, (SELECT txid::text FROM batch ORDER BY txid DESC LIMIT 1) AS last
            FROM batch
            """
        )
    }
}
