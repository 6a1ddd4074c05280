package import FoundationEssentials
package import OrderDomain
package import Postgres

/// What runs have left behind: their lists, their history, and what became of them.
extension RankingStore {
    /// How old the last run may be until ``Standing/isDue`` asks for another although nothing has changed, so
    /// that its age tells whether the aggregator is alive.
    private static let longestRest: TimeInterval = 60

    /// What a process that runs again and again asks before it does.
    package struct Standing: Hashable, Sendable {
        /// Whether a run would change anything: there are new rows, the time of a sale has come that the last run saw
        /// as one to come, the window's hours or its mode are others, or the last run is a minute old.
        package let isDue: Bool
        /// The last run's; nil before the first.
        package let version: RankingVersion?
        /// What the last verification found; nil while there was none.
        package let mismatches: Int64?
    }

    /// How the last run stands to the ledger now: a few looks through indexes; throws `PostgresError`.
    package static func standing(
        _ mode: RankingWindow.Mode,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Standing {
        let window = RankingWindow(mode, endingAt: now)
        // The plan holds for this round trip alone, which is a transaction of its own.
        let rows = try await connection.pipeline(
            [
                PostgresStep(Statements.planForNewRows),
                PostgresStep(
                    ReaderStatements.standing,
                    [
                        .text(mode.rawValue), .timestamp(window.firstHour), .timestamp(window.endHour),
                        .timestamp(now - longestRest), .timestamp(now + longestRest), .timestamp(now),
                    ]
                ),
            ],
            deadline: deadline
        )[1]
        guard let row = rows.first else { return Standing(isDue: true, version: nil, mismatches: nil) }
        return Standing(
            isDue: try row.get("is_up_to_date", as: Bool?.self) != true,
            version: RankingVersion(epoch: try row.get("epoch"), run: try row.get("id")),
            mismatches: try row.get("mismatches")
        )
    }

    /// The newest run with both its lists, or nil before the first; throws `PostgresError`.
    package static func latest(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Outcome? {
        let runs = try await connection.query(ReaderStatements.selectRuns, [.int64(1)], deadline: deadline)
        guard let run = try runs.first.map(AggregationRun.init(row:)) else { return nil }
        var lists: [Ranking: [RankedProduct]] = [:]
        for ranking in Ranking.allCases {
            lists[ranking] = try await list(ranking, of: run, limit: listLimit, on: connection, deadline: deadline)
        }
        return Outcome(run: run, lists: lists)
    }

    /// The newest run and the head of its list, or nil before the first run; throws `PostgresError`.
    package static func latest(
        _ ranking: Ranking,
        limit: Int,
        from pool: PostgresPool,
        deadline: ContinuousClock.Instant
    ) async throws -> (run: AggregationRun, list: [RankedProduct])? {
        try await pool.withConnection(deadline: deadline) { connection in
            let runs = try await connection.query(ReaderStatements.selectRuns, [.int64(1)], deadline: deadline)
            guard let run = try runs.first.map(AggregationRun.init(row:)) else { return nil }
            return (run, try await list(ranking, of: run, limit: limit, on: connection, deadline: deadline))
        }
    }

    private static func list(
        _ ranking: Ranking,
        of run: AggregationRun,
        limit: Int,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [RankedProduct] {
        try await connection.query(
            ReaderStatements.selectList,
            [.int64(run.version.run), .text(ranking.rawValue), .int64(Int64(limit))],
            deadline: deadline
        )
        .map(RankedProduct.init(row:))
    }

    /// The last runs, newest first; throws `PostgresError`.
    package static func runs(
        limit: Int,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [AggregationRun] {
        try await connection.query(ReaderStatements.selectRuns, [.int64(Int64(limit))], deadline: deadline)
            .map(AggregationRun.init(row:))
    }

    /// Notes what became of a run's lists in Redis; throws `PostgresError`.
    package static func mark(
        _ run: AggregationRun,
        _ publication: AggregationRun.Publication,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        _ = try await connection.query(
            ReaderStatements.mark,
            [.int64(run.version.run), .text(publication.rawValue), .timestamp(now)],
            deadline: deadline
        )
    }

    /// What a process tells that sees runs of others go by.
    package struct Recent: Sendable {
        /// The runs after the one that was asked for, oldest first.
        package let runs: [AggregationRun]
        /// The number of the newest run, seen or not; 0 before the first.
        package let newest: Int64
        /// When lists were last brought to Redis; nil when they never were.
        package let lastPublishedAt: Date?
        /// What the last verification found; nil while there was none.
        package let mismatches: Int64?
    }

    /// How many runs ``recent(after:from:deadline:)`` gives at most.
    private static let recentLimit: Int64 = 1_000

    /// The runs after the one of this number, and how the ranking stands; a few looks through indexes.
    ///
    /// - Throws: `PostgresError`.
    package static func recent(
        after run: Int64,
        from pool: PostgresPool,
        deadline: ContinuousClock.Instant
    ) async throws -> Recent {
        let answers = try await pool.pipeline(
            [
                PostgresStep(ReaderStatements.state),
                PostgresStep(ReaderStatements.selectRunsAfter, [.int64(run), .int64(recentLimit)]),
            ],
            deadline: deadline
        )
        let state = answers[0][0]
        return Recent(
            runs: try answers[1].map(AggregationRun.init(row:)),
            newest: try state.get("newest"),
            lastPublishedAt: try state.get("last_published_at"),
            mismatches: try state.get("mismatches")
        )
    }
}

extension AggregationRun {
    init(row: PostgresRow) throws {
        self.init(
            version: RankingVersion(epoch: try row.get("epoch"), run: try row.get("id")),
            trigger: try row.choice("trigger"),
            window: RankingWindow(
                try row.choice("mode"),
                from: try row.get("window_from"),
                to: try row.get("window_to")
            ),
            rowsRead: try row.get("rows_read"),
            productsTouched: try row.get("products_touched"),
            startedAt: try row.get("started_at"),
            finishedAt: try row.get("finished_at"),
            publication: try row.get("publication", as: String?.self).flatMap(Publication.init(rawValue:)),
            mismatches: try row.get("mismatches")
        )
    }
}

extension RankedProduct {
    init(row: PostgresRow) throws {
        self.init(
            productID: try row.productID("product_id"),
            quantity: try row.get("quantity"),
            amount: try row.money("amount")
        )
    }
}

extension RankingStore {
    enum ReaderStatements {
        static let all = [standing, selectRuns, selectRunsAfter, selectList, mark, state]

        /// No row before the first run, and null where the last one is of an older schema.
        ///
        /// A sale after the window's end is one that a run has seen and not counted: the clock of order-api is ahead.
        static let standing = SQLStatement(
            "ranking_standing",
            """
            SELECT last.id, last.epoch, last.mode = $1 AND last.first_hour = $2 AND last.end_hour = $3
                   AND last.window_to > $4 AND last.window_to < $5
                   AND NOT EXISTS (
                       SELECT FROM sales_ledger
                       WHERE txid >= pg_snapshot_xmax(last.target) AND NOT pg_visible_in_snapshot(txid, last.target)
                   )
                   AND NOT EXISTS (
                       SELECT FROM pg_snapshot_xip(last.target) AS running (txid)
                       JOIN sales_ledger l ON l.txid = running.txid
                   )
                   AND NOT EXISTS (
                       SELECT FROM sales_ledger WHERE sold_at > last.window_to AND sold_at <= $6
                   ) AS is_up_to_date,
                   (
                       SELECT mismatches
                       FROM aggregation_runs
                       WHERE verified_at IS NOT NULL
                       ORDER BY verified_at DESC
                       LIMIT 1
                   ) AS mismatches
            FROM (
                SELECT id, epoch, mode, first_hour, end_hour, window_to, target
                FROM aggregation_runs
                ORDER BY id DESC
                LIMIT 1
            ) last
            """
        )

        static let selectRuns = SQLStatement(
            "ranking_select_runs",
            """
            SELECT id, epoch, trigger, mode, window_from, window_to, rows_read, products_touched, started_at,
                finished_at, publication, mismatches
            FROM aggregation_runs
            ORDER BY id DESC
            LIMIT $1
            """
        )

        static let selectRunsAfter = SQLStatement(
            "ranking_select_runs_after",
            """
            SELECT id, epoch, trigger, mode, window_from, window_to, rows_read, products_touched, started_at,
                finished_at, publication, mismatches
            FROM aggregation_runs
            WHERE id > $1
            ORDER BY id
            LIMIT $2
            """
        )

        static let selectList = SQLStatement(
            "ranking_select_list",
            """
            SELECT place.product_id, place.quantity, place.amount
            FROM popular_snapshot s
            CROSS JOIN LATERAL unnest(s.product_ids, s.quantities, s.amounts) WITH ORDINALITY
                AS place (product_id, quantity, amount, rank)
            WHERE s.run_id = $1 AND s.ranking = $2 AND place.rank <= $3
            ORDER BY place.rank
            """
        )

        static let mark = SQLStatement(
            "ranking_mark",
            """
            UPDATE aggregation_runs
            SET publication = $2, published_at = CASE $2 WHEN 'published' THEN $3::timestamptz END
            WHERE id = $1
            """
        )

        /// The newest that is published is the last or the one before, unless Redis has been away for long.
        static let state = SQLStatement(
            "ranking_state",
            """
            SELECT coalesce((SELECT max(id) FROM aggregation_runs), 0) AS newest,
                   (
                       SELECT published_at
                       FROM aggregation_runs
                       WHERE published_at IS NOT NULL
                       ORDER BY id DESC
                       LIMIT 1
                   ) AS last_published_at,
                   (
                       SELECT mismatches
                       FROM aggregation_runs
                       WHERE verified_at IS NOT NULL
                       ORDER BY verified_at DESC
                       LIMIT 1
                   ) AS mismatches
            """
        )
    }
}
