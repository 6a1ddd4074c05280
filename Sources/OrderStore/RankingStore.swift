package import FoundationEssentials
package import OrderDomain
package import Postgres

/// The ranking of three days: made from the sales ledger, kept as hourly sums, totals and lists.
///
/// `sales_hourly` holds the sums of every UTC hour that is kept, `sales_window` the totals of the hours that the window
/// touches, and a run's row the snapshot up to which both have the ledger. The next run adds what its own snapshot sees
/// beyond that, and moves the totals from the old hours to the new ones: its cost follows the new sales and not the
/// window. A sale whose transaction commits late is simply new later. Where no run can be gone on from, the hours are
/// counted from the ledger.
package enum RankingStore {
    /// How many products a list holds; the API gives at most 100 of them.
    package static let listLimit = 1_000
    /// How many runs keep their lists.
    private static let listsKept: Int64 = 10
    /// How many runs are remembered: more than a day of a run a second.
    private static let runsKept: Int64 = 100_000
    /// How many hours back from a window's end are kept: those of every mode, and a day for a run of an earlier time.
    private static let hoursKept: TimeInterval = 96
    static let lockKey: Int64 = 7_002

    /// Another run is going on; nothing was done.
    package struct AlreadyRunning: Error {}

    /// The sums that are kept cannot be right; nothing was changed.
    package struct SumsAreWrong: Error, CustomStringConvertible {
        package let description = "the sums that are kept are wrong: see `aggregator verify`, then `aggregator rebuild`"
    }

    /// A run with a higher fencing number has been saved; nothing was done.
    package struct Outdated: Error {}

    /// What is asked of a run.
    package struct Request: Sendable {
        /// The end of the window; nil for the moment at which the run looks. Sales after it are not counted.
        package let at: Date?
        package let mode: RankingWindow.Mode
        package let trigger: AggregationRun.Trigger
        /// Whether the ledger is counted even where a run could go on from the one before.
        package let recounts: Bool
        /// The fencing number that the scheduler gave to it; nil when nobody did.
        package let fence: Int64?

        /// Makes a request.
        package init(
            at: Date? = nil,
            mode: RankingWindow.Mode = .rolling,
            trigger: AggregationRun.Trigger,
            recounts: Bool = false,
            fence: Int64? = nil
        ) {
            self.at = at
            self.mode = mode
            self.trigger = trigger
            self.recounts = recounts
            self.fence = fence
        }
    }

    /// A committed run with its lists.
    package struct Outcome: Sendable {
        package let run: AggregationRun
        package let lists: [Ranking: [RankedProduct]]
    }

    /// Takes in what is new and saves hourly sums, totals, both lists and the run in one transaction.
    ///
    /// - Parameters:
    ///   - request: up to when, how, and for whom.
    ///   - connection: where it is done; after an error it is closed, which gives back the lock against a second run.
    ///   - database: where further connections are made, to count the ledger of several days at once.
    /// - Returns: the run and its lists.
    /// - Throws: ``AlreadyRunning``, ``Outdated``, ``SumsAreWrong`` or `PostgresError`. Then nothing was changed,
    ///   unless the answer to COMMIT was lost; either way the next run goes on from what is there.
    package static func run(
        _ request: Request,
        on connection: PostgresConnection,
        in database: PostgresConfiguration,
        deadline: ContinuousClock.Instant
    ) async throws -> Outcome {
        // Before the transaction, whose snapshot must see all that the run before has done.
        let locked = try await connection.query(Statements.tryLock, [.int64(lockKey)], deadline: deadline)
        guard try locked[0].get("locked", as: Bool.self) else { throw AlreadyRunning() }
        do {
            let startedAt = Date()
            let base = try await begin(on: connection, deadline: deadline)
            // After the snapshot: what is visible in it was not sold later than this, if the clocks agree.
            let window = RankingWindow(request.mode, endingAt: request.at ?? Date().wholeMilliseconds)
            let kept = Date(timeInterval: -hoursKept * 3_600, since: window.endHour)
            let taken: Taken
            if let last = base.progress, !request.recounts, window.firstHour >= last.keptFrom {
                taken = try await takeNew(since: last, to: window, keptFrom: kept, on: connection, deadline: deadline)
            } else {
                taken = try await recount(window, keptFrom: kept, on: connection, in: database, deadline: deadline)
            }
            return try await save(
                taken,
                of: request,
                window: window,
                hasForeignRows: base.hasForeignRows,
                startedAt: startedAt,
                on: connection,
                deadline: deadline
            )
        } catch {
            await connection.close()
            throw error
        }
    }

    /// What a run has taken in.
    struct Taken {
        let rowsRead: Int64
        let productsTouched: Int64
        /// From where on `sales_hourly` is complete.
        let keptFrom: Date
    }

    /// How far the last run came.
    private struct Progress {
        let snapshot: String
        let firstHour: Date
        let endHour: Date
        let keptFrom: Date
    }

    /// Begins the transaction; the progress is nil where there is none to go on from.
    private static func begin(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> (progress: Progress?, hasForeignRows: Bool) {
        let rows = try await connection.pipeline(
            [
                PostgresStep(Statements.begin), PostgresStep(Statements.planForNewRows),
                PostgresStep(Statements.selectProgress),
            ],
            deadline: deadline
        )[2]
        let hasForeignRows = try rows[0].get("has_foreign_rows", as: Bool.self)
        guard try rows[0].get("can_go_on"), let snapshot: String = try rows[0].get("snapshot") else {
            return (nil, hasForeignRows)
        }
        let progress = Progress(
            snapshot: snapshot,
            firstHour: try rows[0].get("first_hour"),
            endHour: try rows[0].get("end_hour"),
            keptFrom: try rows[0].get("kept_from")
        )
        return (progress, hasForeignRows)
    }

    /// Adds the ledger's new rows to hours and totals, and moves the totals to the window's hours.
    private static func takeNew(
        since last: Progress,
        to window: RankingWindow,
        keptFrom: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Taken {
        let keptFrom = max(keptFrom, last.keptFrom)
        let hasMoved = (last.firstHour, last.endHour) != (window.firstHour, window.endHour)
        var steps = [
            PostgresStep(
                Statements.takeNew,
                [
                    .text(last.snapshot), .timestamp(last.keptFrom), .timestamp(window.firstHour),
                    .timestamp(window.endHour), .timestamp(last.firstHour), .timestamp(last.endHour),
                ]
            ),
            PostgresStep(Statements.forgetHours, [.timestamp(keptFrom)]),
        ]
        // It looks at all products, so not with every run.
        if hasMoved { steps.append(PostgresStep(Statements.forgetProducts)) }
        let rows = try await connection.pipeline(steps, deadline: deadline)[0]
        // A sum cannot be less than nothing: a cancellation is seen no earlier than its sale.
        guard try rows[0].get("negative", as: Int64.self) == 0 else { throw SumsAreWrong() }
        return Taken(
            rowsRead: try rows[0].get("rows_read"),
            productsTouched: try rows[0].get("products_touched"),
            keptFrom: keptFrom
        )
    }

    /// Saves the run and its lists, and commits.
    private static func save(
        _ taken: Taken,
        of request: Request,
        window: RankingWindow,
        hasForeignRows: Bool,
        startedAt: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Outcome {
        let rows = try await connection.query(
            Statements.insertRun,
            [
                .text(request.trigger.rawValue), .text(window.mode.rawValue), .timestamp(window.from),
                .timestamp(window.to), .timestamp(window.firstHour), .timestamp(window.endHour),
                .timestamp(taken.keptFrom), .bool(hasForeignRows), .int64(taken.rowsRead),
                .int64(taken.productsTouched), .timestamp(startedAt),
                request.fence.map { .int64($0) } ?? .null,
            ],
            deadline: deadline
        )
        guard let number = try rows.first?.get("id", as: Int64.self) else { throw Outdated() }
        let list = [
            PostgresValue.int64(number), .int64(Int64(listLimit)), .timestamp(window.firstHour),
            .timestamp(window.from), .timestamp(window.to), .timestamp(window.endHour),
        ]
        let saved = try await connection.pipeline(
            [
                PostgresStep(Statements.planForLists),
                PostgresStep(Statements.saveLists, list),
                PostgresStep(Statements.forgetLists, [.int64(number - listsKept)]),
                PostgresStep(Statements.forgetRuns, [.int64(number - runsKept)]),
                PostgresStep(Statements.finishRun, [.int64(number)]),
                PostgresStep(.commit),
                PostgresStep(Statements.unlock, [.int64(lockKey)]),
            ],
            deadline: deadline
        )
        var lists = Dictionary(uniqueKeysWithValues: Ranking.allCases.map { ($0, [RankedProduct]()) })
        for row in saved[1] {
            let ranking: Ranking = try row.choice("ranking")
            lists[ranking, default: []].append(try RankedProduct(row: row))
        }
        return Outcome(run: try AggregationRun(row: saved[4][0]), lists: lists)
    }
}

extension RankingStore {
    enum Statements {
        static let all = [
            tryLock, unlock, selectProgress, planForNewRows, takeNew, forgetHours, forgetProducts, insertRun,
            planForLists, saveLists, forgetLists, forgetRuns, finishRun,
        ]

        /// One snapshot for the whole run, so that all its tables speak of the same sales.
        static let begin = SQLStatement("ranking_begin", "BEGIN ISOLATION LEVEL REPEATABLE READ")

        static let tryLock = SQLStatement(
            "ranking_try_lock",
            """
            SELECT pg_try_advisory_lock($1) AS locked
            """
        )

        static let unlock = SQLStatement(
            "ranking_unlock",
            """
            SELECT pg_advisory_unlock($1)
            """
        )

        /// Transactions have numbers of their cluster. A dump that is restored into another cluster brings rows and a
        /// snapshot with numbers that mean nothing there; they are found out by being higher than any that has been
        /// given out. From such a run no other can go on, and neither from one that has counted such rows.
        static let selectProgress = SQLStatement(
            "ranking_select_progress",
            """
            SELECT last.target::text AS snapshot, last.first_hour, last.end_hour, last.kept_from, here.has_foreign_rows,
                   coalesce(
                       last.first_hour IS NOT NULL
                       AND NOT here.has_foreign_rows
                       AND NOT last.has_foreign_rows
                       AND pg_snapshot_xmax(last.target) <= pg_snapshot_xmax(pg_current_snapshot()),
                       false
                   ) AS can_go_on
            FROM (
                SELECT EXISTS (
                    SELECT FROM sales_ledger WHERE txid >= pg_snapshot_xmax(pg_current_snapshot())
                ) AS has_foreign_rows
            ) here
            LEFT JOIN (
                SELECT target, first_hour, end_hour, kept_from, has_foreign_rows
                FROM aggregation_runs
                ORDER BY id DESC
                LIMIT 1
            ) last ON true
            """
        )

        /// The few new rows are found through indexes, whatever the statistics of a ledger say that has just grown;
        /// also that there are none, which looks cheap by reading all where many are expected.
        static let planForNewRows = SQLStatement(
            "ranking_plan_for_new_rows",
            """
            SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
                   set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true),
                   set_config('plan_cache_mode', 'force_custom_plan', true)
            """
        )

        /// A recount needs every hour, and the lists every product.
        static let planForLists = SQLStatement(
            "ranking_plan_for_lists",
            """
            SELECT set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true),
                   set_config('enable_mergejoin', 'on', true), set_config('jit', 'off', true),
                   set_config('plan_cache_mode', 'force_custom_plan', true)
            """
        )

        /// Everything at once, so that the hours which the totals gain and lose are those of before: what is new in
        /// them is no part of the totals yet.
        ///
        /// Rows that are there are updated and the others inserted: an upsert of each costs twice as much. What was
        /// updated is told from the rest by grouping and not by a join, which ``planForNewRows`` makes a nested loop.
        /// In the order of the keys, since neighbours are found in the same pages.
        static let takeNew = SQLStatement(
            "ranking_take_new",
            """
            WITH new AS (
                SELECT date_trunc('hour', sold_at, 'UTC') AS hour, product_id, count(*) AS rows,
                       sum(quantity) AS quantity, sum(amount)::bigint AS amount
                FROM sales_ledger
                WHERE (txid >= pg_snapshot_xmax($1::text::pg_snapshot)
                        OR txid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot))))
                    AND NOT pg_visible_in_snapshot(txid, $1::text::pg_snapshot)
                GROUP BY 1, 2
                ORDER BY 1, 2
            ), raised_hour AS (
                UPDATE sales_hourly kept
                SET quantity = kept.quantity + new.quantity, amount = kept.amount + new.amount
                FROM new
                WHERE kept.hour = new.hour AND kept.product_id = new.product_id AND new.hour >= $2
                RETURNING kept.hour, kept.product_id, kept.quantity, kept.amount
            ), first_hour AS (
                INSERT INTO sales_hourly (hour, product_id, quantity, amount)
                SELECT hour, product_id, max(quantity), max(amount)
                FROM (
                    SELECT hour, product_id, quantity, amount, false AS is_there FROM new WHERE hour >= $2
                    UNION ALL
                    SELECT hour, product_id, 0, 0, true FROM raised_hour
                ) part
                GROUP BY hour, product_id
                HAVING NOT bool_or(is_there)
                RETURNING quantity, amount
            ), moved AS (
                SELECT product_id,
                       CASE WHEN hour >= $3 AND hour < $4 THEN quantity ELSE -quantity END AS quantity,
                       CASE WHEN hour >= $3 AND hour < $4 THEN amount ELSE -amount END AS amount
                FROM sales_hourly
                WHERE (hour >= least($3, $5) AND hour < greatest($3, $5)
                        OR hour >= least($4, $6) AND hour < greatest($4, $6))
                    AND (hour >= $3 AND hour < $4) <> (hour >= $5 AND hour < $6)
            ), change AS (
                SELECT product_id, sum(quantity)::bigint AS quantity, sum(amount)::bigint AS amount
                FROM (
                    SELECT product_id, quantity, amount FROM moved
                    UNION ALL
                    SELECT product_id, quantity, amount FROM new WHERE hour >= $3 AND hour < $4
                ) part
                GROUP BY product_id
                ORDER BY product_id
            ), raised_total AS (
                UPDATE sales_window total
                SET quantity = total.quantity + change.quantity, amount = total.amount + change.amount
                FROM change
                WHERE total.product_id = change.product_id
                RETURNING total.product_id, total.quantity, total.amount
            ), first_total AS (
                INSERT INTO sales_window (product_id, quantity, amount)
                SELECT product_id, max(quantity), max(amount)
                FROM (
                    SELECT product_id, quantity, amount, false AS is_there FROM change
                    UNION ALL
                    SELECT product_id, 0, 0, true FROM raised_total
                ) part
                GROUP BY product_id
                HAVING NOT bool_or(is_there)
                RETURNING quantity, amount
            ), result AS (
                SELECT quantity, amount FROM raised_hour
                UNION ALL
                SELECT quantity, amount FROM first_hour
                UNION ALL
                SELECT quantity, amount FROM raised_total
                UNION ALL
                SELECT quantity, amount FROM first_total
            )
            SELECT (SELECT coalesce(sum(rows), 0)::bigint FROM new) AS rows_read,
                   (SELECT count(*) FROM change) AS products_touched,
                   (SELECT count(*) FROM result WHERE quantity < 0 OR amount < 0) AS negative
            """
        )

        static let forgetHours = SQLStatement(
            "ranking_forget_hours",
            """
            DELETE FROM sales_hourly
            WHERE hour < $1
            """
        )

        static let forgetProducts = SQLStatement(
            "ranking_forget_products",
            """
            DELETE FROM sales_window
            WHERE quantity = 0
            """
        )

        /// Inserts nothing when a run that the scheduler started later has been saved.
        ///
        /// A database that was restored numbers its runs from those of its dump, while Redis has later ones. So the
        /// first run that is made elsewhere than the one before begins an epoch, which is newer than every run of the
        /// database as it was. Elsewhere is another cluster or database, another file of this table (it was restored
        /// in place), or another timeline (recovery to a point in time).
        static let insertRun = SQLStatement(
            "ranking_insert_run",
            """
            WITH here AS (
                SELECT outbox_epoch() || '/' || pg_relation_filenode('aggregation_runs') || '/'
                    || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS incarnation
            )
            INSERT INTO aggregation_runs (
                trigger, mode, as_of, window_from, window_to, first_hour, end_hour, kept_from, has_foreign_rows, base,
                target, rows_read, products_touched, started_at, finished_at, fence, incarnation, epoch
            )
            SELECT $1, $2, $4, $3, $4, $5, $6, $7, $8, coalesce(last.target, pg_current_snapshot()),
                pg_current_snapshot(), $9, $10, $11::timestamptz, $11, $12::bigint, here.incarnation,
                CASE
                    WHEN last.incarnation = here.incarnation THEN last.epoch
                    ELSE greatest(
                        coalesce(last.epoch, 0) + 1, (extract(epoch FROM $11::timestamptz) * 1000)::bigint
                    )
                END
            FROM here
            LEFT JOIN (
                SELECT target, incarnation, epoch
                FROM aggregation_runs
                ORDER BY id DESC
                LIMIT 1
            ) last ON true
            WHERE NOT EXISTS (SELECT FROM aggregation_runs WHERE fence > $12::bigint)
            RETURNING id
            """
        )

        /// What lies in the first and the last hour but outside of the window is left out here. Usually that is
        /// nothing; with the mode `minute` it is a part of one hour.
        ///
        /// Both lists from one look at the totals, of which few are counted and sorted: whatever the last list's
        /// products have sold by now, no product of the new list has sold less than the least of them. Where the last
        /// list was short, or one of its products has gone, all are.
        static let saveLists = SQLStatement(
            "ranking_save_lists",
            """
            WITH outside AS MATERIALIZED (
                SELECT product_id, sum(quantity) AS quantity, sum(amount)::bigint AS amount
                FROM sales_ledger
                WHERE sold_at >= $3 AND sold_at < $4 OR sold_at > $5 AND sold_at < $6
                GROUP BY product_id
            ), least AS MATERIALIZED (
                SELECT s.ranking, count(*) AS products, min(w.quantity - coalesce(o.quantity, 0)) AS quantity,
                       min(w.amount - coalesce(o.amount, 0)) AS amount
                FROM popular_snapshot s
                CROSS JOIN LATERAL unnest(s.product_ids) AS place (product_id)
                JOIN sales_window w ON w.product_id = place.product_id
                LEFT JOIN outside o ON o.product_id = w.product_id
                WHERE s.run_id = (SELECT max(run_id) FROM popular_snapshot WHERE run_id < $1)
                    AND w.quantity > coalesce(o.quantity, 0)
                GROUP BY s.ranking
            ), counted AS MATERIALIZED (
                SELECT w.product_id, w.quantity - coalesce(o.quantity, 0) AS quantity,
                       w.amount - coalesce(o.amount, 0) AS amount
                FROM sales_window w
                LEFT JOIN outside o ON o.product_id = w.product_id
                WHERE w.quantity >= coalesce(
                        (SELECT quantity FROM least WHERE ranking = 'quantity' AND products >= $2), 1
                    )
                    OR w.amount >= coalesce(
                        (SELECT amount FROM least WHERE ranking = 'amount' AND products >= $2), 1
                    )
                    OR w.product_id IN (SELECT product_id FROM outside)
            ), list AS MATERIALIZED (
                SELECT 'quantity' AS ranking, rank, product_id, quantity, amount
                FROM (
                    SELECT row_number() OVER (ORDER BY quantity DESC, product_id) AS rank, product_id, quantity, amount
                    FROM counted
                    WHERE quantity > 0
                ) by_quantity
                WHERE rank <= $2
                UNION ALL
                SELECT 'amount', rank, product_id, quantity, amount
                FROM (
                    SELECT row_number() OVER (ORDER BY amount DESC, product_id) AS rank, product_id, quantity, amount
                    FROM counted
                    WHERE quantity > 0
                ) by_amount
                WHERE rank <= $2
            ), saved AS (
                INSERT INTO popular_snapshot (run_id, ranking, product_ids, quantities, amounts)
                SELECT $1, kind.ranking,
                       coalesce(array_agg(product_id ORDER BY rank) FILTER (WHERE rank IS NOT NULL), '{}'),
                       coalesce(array_agg(quantity ORDER BY rank) FILTER (WHERE rank IS NOT NULL), '{}'),
                       coalesce(array_agg(amount ORDER BY rank) FILTER (WHERE rank IS NOT NULL), '{}')
                FROM (VALUES ('quantity'), ('amount')) AS kind (ranking)
                LEFT JOIN list ON list.ranking = kind.ranking
                GROUP BY kind.ranking
            )
            SELECT ranking, product_id, quantity, amount
            FROM list
            ORDER BY ranking, rank
            """
        )

        static let forgetLists = SQLStatement(
            "ranking_forget_lists",
            """
            DELETE FROM popular_snapshot
            WHERE run_id <= $1
            """
        )

        static let forgetRuns = SQLStatement(
            "ranking_forget_runs",
            """
            DELETE FROM aggregation_runs
            WHERE id <= $1
            """
        )

        /// The last statement before COMMIT. How long it took is measured by the database's clock, since that of the
        /// aggregator, which says when it began, may be another.
        static let finishRun = SQLStatement(
            "ranking_finish_run",
            """
            UPDATE aggregation_runs
            SET finished_at = started_at + greatest(clock_timestamp() - transaction_timestamp(), interval '0')
            WHERE id = $1
            RETURNING id, epoch, trigger, mode, window_from, window_to, rows_read, products_touched, started_at,
                finished_at, publication, mismatches
            """
        )
    }
}
