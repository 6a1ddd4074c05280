package import FoundationEssentials
package import OrderDomain
package import Postgres

/// The ranking of three days: made from the sales ledger, kept as hourly sums, totals and lists.
package enum RankingStore {
    /// How many products a list holds; the API gives at most 100 of them.
    package static let listLimit = 1_000
    /// How many runs keep their lists.
    private static let runsKept: Int64 = 10
    private static let lockKey: Int64 = 7_002

    /// Another run is going on; nothing was done.
    package struct AlreadyRunning: Error {}

    /// The window of a run: 72 hours back from the full hour, up to `now`.
    package static func window(at now: Date) -> (from: Date, to: Date) {
        let hour = (now.timeIntervalSince1970 / 3_600).rounded(.down) * 3_600
        return (Date(timeIntervalSince1970: hour - 72 * 3_600), now)
    }

    /// Counts the window anew and saves hourly sums, totals, both lists and the run in one transaction.
    ///
    /// - Parameters:
    ///   - now: the end of the window; sales after it are not counted.
    ///   - trigger: who asked.
    ///   - connection: a connection of its own; the lock against a second run is its session's.
    /// - Returns: the run and its lists.
    /// - Throws: ``AlreadyRunning``, or `PostgresError`; then nothing was changed.
    package static func run(
        at now: Date,
        trigger: AggregationRun.Trigger,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> (run: AggregationRun, lists: [Ranking: [RankedProduct]]) {
        let locked = try await connection.query(Statements.tryLock, [.int64(lockKey)], deadline: deadline)
        guard try locked[locked.startIndex].get("locked", as: Bool.self) else { throw AlreadyRunning() }
        let (from, to) = window(at: now)
        let bounds = [PostgresValue.timestamp(from), .timestamp(to)]
        let counted = try await connection.pipeline(
            [
                PostgresStep(Statements.begin),
                PostgresStep(Statements.countLedger, bounds),
                PostgresStep(Statements.forgetHours, bounds),
                PostgresStep(Statements.sumHours, bounds),
                PostgresStep(Statements.sumWindow),
                PostgresStep(Statements.forgetProducts),
            ],
            deadline: deadline
        )
        let rowsRead = try counted[1][counted[1].startIndex].get("rows_read", as: Int64.self)
        let touched = Int64(counted[4].affectedRows + counted[5].affectedRows)
        let started = try await connection.query(
            Statements.insertRun,
            [.text(trigger.rawValue), .timestamp(now)] + bounds + [.int64(rowsRead), .int64(touched)],
            deadline: deadline
        )
        let id = try started[started.startIndex].get("id", as: Int64.self)
        let saved = try await connection.pipeline(
            [
                PostgresStep(Statements.listByQuantity, [.int64(id), .int64(Int64(listLimit))]),
                PostgresStep(Statements.listByAmount, [.int64(id), .int64(Int64(listLimit))]),
                PostgresStep(Statements.forgetLists, [.int64(id - runsKept)]),
                PostgresStep(.commit),
            ],
            deadline: deadline
        )
        let run = AggregationRun(
            id: id,
            asOf: now,
            windowFrom: from,
            windowTo: to,
            rowsRead: rowsRead,
            productsTouched: touched
        )
        return (
            run,
            [
                .quantity: try saved[0].map(RankedProduct.init(row:)),
                .amount: try saved[1].map(RankedProduct.init(row:)),
            ]
        )
    }

    /// Notes that a run has reached Redis.
    package static func markPublished(
        _ run: Int64,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        _ = try await connection.query(
            Statements.markPublished,
            [.int64(run), .timestamp(now)],
            deadline: deadline
        )
    }

    /// The last run and the head of its list, or nil before the first run; throws `PostgresError`.
    package static func latest(
        _ ranking: Ranking,
        limit: Int,
        from pool: PostgresPool,
        deadline: ContinuousClock.Instant
    ) async throws -> (run: AggregationRun, list: [RankedProduct])? {
        try await pool.withConnection(deadline: deadline) { connection in
            let runs = try await connection.query(Statements.selectLatestRun, deadline: deadline)
            guard let run = try runs.first.map(AggregationRun.init(row:)) else { return nil }
            let list = try await connection.query(
                Statements.selectList,
                [.int64(run.id), .text(ranking.rawValue), .int64(Int64(limit))],
                deadline: deadline
            )
            return (run, try list.map(RankedProduct.init(row:)))
        }
    }

    /// The last runs, newest first; throws `PostgresError`.
    package static func runs(
        limit: Int,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [AggregationRun] {
        try await connection.query(Statements.selectRuns, [.int64(Int64(limit))], deadline: deadline)
            .map(AggregationRun.init(row:))
    }
}

extension AggregationRun {
    fileprivate init(row: PostgresRow) throws {
        self.init(
            id: try row.get("id"),
            asOf: try row.get("as_of"),
            windowFrom: try row.get("window_from"),
            windowTo: try row.get("window_to"),
            rowsRead: try row.get("rows_read"),
            productsTouched: try row.get("products_touched")
        )
    }
}

extension RankedProduct {
    fileprivate init(row: PostgresRow) throws {
        self.init(
            productID: try row.productID("product_id"),
            quantity: try row.get("quantity"),
            amount: try row.money("amount")
        )
    }
}

extension RankingStore {
    enum Statements {
        static let all = [
            tryLock, countLedger, forgetHours, sumHours, sumWindow, forgetProducts, insertRun, listByQuantity,
            listByAmount, forgetLists, markPublished, selectLatestRun, selectRuns, selectList,
        ]

        /// One snapshot for the whole run, so that all its tables speak of the same sales.
        static let begin = SQLStatement("ranking_begin", "BEGIN ISOLATION LEVEL REPEATABLE READ")

        static let tryLock = SQLStatement(
            "ranking_try_lock",
            """
            SELECT pg_try_advisory_lock($1) AS locked
            """
        )

        static let countLedger = SQLStatement(
            "ranking_count_ledger",
            """
            SELECT count(*) AS rows_read
            FROM sales_ledger
            WHERE sold_at >= $1 AND sold_at <= $2
            """
        )

        /// The hours before the window, and the one in which it ends: that one may hold sales after the window's end.
        static let forgetHours = SQLStatement(
            "ranking_forget_hours",
            """
            DELETE FROM sales_hourly
            WHERE hour < $1 OR hour >= date_trunc('hour', $2::timestamptz, 'UTC')
            """
        )

        /// Writes only the hours that changed.
        static let sumHours = SQLStatement(
            "ranking_sum_hours",
            """
            INSERT INTO sales_hourly AS kept (hour, product_id, quantity, amount)
            SELECT date_trunc('hour', sold_at, 'UTC'), product_id, sum(quantity), sum(amount)
            FROM sales_ledger
            WHERE sold_at >= $1 AND sold_at <= $2
            GROUP BY 1, 2
            ON CONFLICT (hour, product_id) DO UPDATE
            SET quantity = excluded.quantity, amount = excluded.amount
            WHERE (kept.quantity, kept.amount) IS DISTINCT FROM (excluded.quantity, excluded.amount)
            """
        )

        /// Writes only the products that changed.
        static let sumWindow = SQLStatement(
            "ranking_sum_window",
            """
            INSERT INTO sales_window AS kept (product_id, quantity, amount)
            SELECT product_id, sum(quantity), sum(amount)
            FROM sales_hourly
            GROUP BY product_id
            ON CONFLICT (product_id) DO UPDATE
            SET quantity = excluded.quantity, amount = excluded.amount
            WHERE (kept.quantity, kept.amount) IS DISTINCT FROM (excluded.quantity, excluded.amount)
            """
        )

        static let forgetProducts = SQLStatement(
            "ranking_forget_products",
            """
            DELETE FROM sales_window w
            WHERE NOT EXISTS (SELECT FROM sales_hourly h WHERE h.product_id = w.product_id)
            """
        )

        static let insertRun = SQLStatement(
            "ranking_insert_run",
            """
            INSERT INTO aggregation_runs (
                trigger, as_of, window_from, window_to, base, target, rows_read, products_touched, started_at,
                finished_at
            )
            SELECT $1, $2, $3, $4,
                coalesce(
                    (SELECT target FROM aggregation_runs ORDER BY id DESC LIMIT 1),
                    pg_current_snapshot()
                ),
                pg_current_snapshot(), $5, $6, transaction_timestamp(), clock_timestamp()
            RETURNING id
            """
        )

        static let listByQuantity = SQLStatement(
            "ranking_list_by_quantity",
            """
            INSERT INTO popular_snapshot (run_id, ranking, rank, product_id, quantity, amount)
            SELECT $1, 'quantity', row_number() OVER (ORDER BY w.quantity DESC, w.product_id),
                w.product_id, w.quantity, w.amount
            FROM sales_window w
            JOIN products p ON p.id = w.product_id
            WHERE w.quantity > 0 AND p.status = 'ACTIVE'
            ORDER BY w.quantity DESC, w.product_id
            LIMIT $2
            RETURNING product_id, quantity, amount
            """
        )

        static let listByAmount = SQLStatement(
            "ranking_list_by_amount",
            """
            INSERT INTO popular_snapshot (run_id, ranking, rank, product_id, quantity, amount)
            SELECT $1, 'amount', row_number() OVER (ORDER BY w.amount DESC, w.product_id),
                w.product_id, w.quantity, w.amount
            FROM sales_window w
            JOIN products p ON p.id = w.product_id
            WHERE w.quantity > 0 AND p.status = 'ACTIVE'
            ORDER BY w.amount DESC, w.product_id
            LIMIT $2
            RETURNING product_id, quantity, amount
            """
        )

        static let forgetLists = SQLStatement(
            "ranking_forget_lists",
            """
            DELETE FROM popular_snapshot
            WHERE run_id <= $1
            """
        )

        static let markPublished = SQLStatement(
            "ranking_mark_published",
            """
            UPDATE aggregation_runs
            SET published_at = $2
            WHERE id = $1
            """
        )

        static let selectLatestRun = SQLStatement(
            "ranking_select_latest_run",
            """
            SELECT id, as_of, window_from, window_to, rows_read, products_touched
            FROM aggregation_runs
            ORDER BY id DESC
            LIMIT 1
            """
        )

        static let selectRuns = SQLStatement(
            "ranking_select_runs",
            """
            SELECT id, as_of, window_from, window_to, rows_read, products_touched
            FROM aggregation_runs
            ORDER BY id DESC
            LIMIT $1
            """
        )

        static let selectList = SQLStatement(
            "ranking_select_list",
            """
            SELECT product_id, quantity, amount
            FROM popular_snapshot
            WHERE run_id = $1 AND ranking = $2
            ORDER BY rank
            LIMIT $3
            """
        )
    }
}
