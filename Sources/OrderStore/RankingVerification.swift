package import FoundationEssentials
package import OrderDomain
package import Postgres

/// Whether what runs keep is what the ledger says.
extension RankingStore {
    /// How many differences of a kind are shown at most; all are counted.
    package static let shownDifferences = 20

    /// A kept value that the ledger contradicts.
    package struct Difference: Hashable, Sendable {
        /// What is kept wrongly.
        package enum Kind: String, CaseIterable, Sendable {
            /// The sums of an hour.
            case hour
            /// The totals of the window.
            case total
            /// A place in a list.
            case list
        }

        package let kind: Kind
        /// The hour and the product, or the list and the rank.
        package let place: String
        /// What the ledger says; nil when nothing should be there.
        package let expected: String?
        /// What is kept; nil when nothing is there.
        package let found: String?
    }

    /// What a verification found.
    package struct Verification: Sendable {
        package let run: AggregationRun
        /// All differences.
        package let mismatches: Int64
        /// The first ``RankingStore/shownDifferences`` of each kind.
        package let differences: [Difference]
    }

    /// Why nothing can be verified.
    package enum NothingToVerify: Error {
        case noRun
        /// The ledger has rows of another cluster's transactions, of which the run's snapshot says nothing.
        case foreignRows
    }

    /// Counts the ledger as the last run's snapshot saw it, and compares hours, totals and lists.
    ///
    /// Reads everything at one moment, and changes nothing.
    /// - Throws: ``NothingToVerify``, or `PostgresError`; then the connection is closed.
    package static func verify(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Verification {
        do {
            let begun = try await connection.pipeline(
                [
                    PostgresStep(.beginReadOnlySnapshot), PostgresStep(VerificationStatements.planForTheLedger),
                    PostgresStep(ReaderStatements.selectRuns, [.int64(1)]),
                    PostgresStep(VerificationStatements.selectState),
                ],
                deadline: deadline
            )
            guard let run = try begun[2].first.map(AggregationRun.init(row:)), let state = begun[3].first else {
                throw NothingToVerify.noRun
            }
            guard try !state.get("has_foreign_rows", as: Bool.self) else { throw NothingToVerify.foreignRows }
            let found = try await compare(run, state, on: connection, deadline: deadline)
            return Verification(
                run: run,
                mismatches: try found.compactMap { try $0.rows.first?.get("total", as: Int64.self) }.reduce(0, +),
                differences: try found.flatMap { kind, rows in
                    try rows.map { row in
                        Difference(
                            kind: kind,
                            place: try row.get("place"),
                            expected: try row.get("expected"),
                            found: try row.get("found")
                        )
                    }
                }
            )
        } catch {
            await connection.close()
            throw error
        }
    }

    private static func compare(
        _ run: AggregationRun,
        _ state: PostgresRow,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [(kind: Difference.Kind, rows: PostgresRows)] {
        let snapshot = PostgresValue.text(try state.get("snapshot"))
        let limit = PostgresValue.int64(Int64(shownDifferences))
        let (first, end): (Date, Date) = (try state.get("first_hour"), try state.get("end_hour"))
        let rows = try await connection.pipeline(
            [
                PostgresStep(
                    VerificationStatements.compareHours,
                    [snapshot, .timestamp(try state.get("kept_from")), limit]
                ),
                PostgresStep(VerificationStatements.compareTotals, [.timestamp(first), .timestamp(end), limit]),
                PostgresStep(
                    VerificationStatements.compareLists,
                    [
                        snapshot, .timestamp(run.window.from), .timestamp(run.window.to), .int64(run.version.run),
                        .int64(Int64(listLimit)), limit,
                    ]
                ),
                PostgresStep(.commit),
            ],
            deadline: deadline
        )
        return zip(Difference.Kind.allCases, rows).map { ($0, $1) }
    }

    /// Notes with the run what its verification found; throws `PostgresError`.
    package static func note(
        _ verification: Verification,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        _ = try await connection.query(
            VerificationStatements.note,
            [.int64(verification.run.version.run), .timestamp(now), .int64(verification.mismatches)],
            deadline: deadline
        )
    }
}

extension RankingStore {
    enum VerificationStatements {
        static let all = [planForTheLedger, selectState, compareHours, compareTotals, compareLists, note]

        /// Millions of sums at once.
        static let planForTheLedger = SQLStatement(
            "ranking_plan_for_the_ledger",
            """
            SELECT set_config('work_mem', '64MB', true), set_config('plan_cache_mode', 'force_custom_plan', true)
            """
        )

        /// Nothing for a run of an older schema.
        static let selectState = SQLStatement(
            "ranking_select_state",
            """
            SELECT last.target::text AS snapshot, last.first_hour, last.end_hour, last.kept_from,
                   last.has_foreign_rows
                   OR pg_snapshot_xmax(last.target) > pg_snapshot_xmax(pg_current_snapshot()) AS has_foreign_rows
            FROM (
                SELECT target, first_hour, end_hour, kept_from, has_foreign_rows
                FROM aggregation_runs
                ORDER BY id DESC
                LIMIT 1
            ) last
            WHERE last.first_hour IS NOT NULL
            """
        )

        static let compareHours = SQLStatement(
            "ranking_compare_hours",
            """
            WITH counted AS (
                SELECT date_trunc('hour', sold_at, 'UTC') AS hour, product_id, sum(quantity) AS quantity,
                       sum(amount)::bigint AS amount
                FROM sales_ledger
                WHERE sold_at >= $2 AND pg_visible_in_snapshot(txid, $1::text::pg_snapshot)
                GROUP BY 1, 2
                HAVING sum(quantity) <> 0 OR sum(amount) <> 0
            ), kept AS (
                SELECT hour, product_id, quantity, amount
                FROM sales_hourly
                WHERE quantity <> 0 OR amount <> 0
            )
            SELECT to_char(coalesce(c.hour, k.hour) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24"Z"')
                       || ', product ' || coalesce(c.product_id, k.product_id) AS place,
                   c.quantity || ' for ' || c.amount AS expected, k.quantity || ' for ' || k.amount AS found,
                   count(*) OVER () AS total
            FROM counted c
            FULL JOIN kept k ON k.hour = c.hour AND k.product_id = c.product_id
            WHERE c.quantity IS DISTINCT FROM k.quantity OR c.amount IS DISTINCT FROM k.amount
            ORDER BY coalesce(c.hour, k.hour), coalesce(c.product_id, k.product_id)
            LIMIT $3
            """
        )

        /// The totals against the hours, which have been compared with the ledger.
        static let compareTotals = SQLStatement(
            "ranking_compare_totals",
            """
            WITH counted AS (
                SELECT product_id, sum(quantity)::bigint AS quantity, sum(amount)::bigint AS amount
                FROM sales_hourly
                WHERE hour >= $1 AND hour < $2
                GROUP BY product_id
                HAVING sum(quantity) <> 0 OR sum(amount) <> 0
            ), kept AS (
                SELECT product_id, quantity, amount
                FROM sales_window
                WHERE quantity <> 0 OR amount <> 0
            )
            SELECT 'product ' || coalesce(c.product_id, k.product_id) AS place,
                   c.quantity || ' for ' || c.amount AS expected, k.quantity || ' for ' || k.amount AS found,
                   count(*) OVER () AS total
            FROM counted c
            FULL JOIN kept k ON k.product_id = c.product_id
            WHERE c.quantity IS DISTINCT FROM k.quantity OR c.amount IS DISTINCT FROM k.amount
            ORDER BY coalesce(c.product_id, k.product_id)
            LIMIT $3
            """
        )

        /// The lists against the ledger itself.
        static let compareLists = SQLStatement(
            "ranking_compare_lists",
            """
            WITH counted AS MATERIALIZED (
                SELECT product_id, sum(quantity) AS quantity, sum(amount)::bigint AS amount
                FROM sales_ledger
                WHERE sold_at >= $2 AND sold_at <= $3 AND pg_visible_in_snapshot(txid, $1::text::pg_snapshot)
                GROUP BY product_id
                HAVING sum(quantity) > 0
            ), expected AS (
                SELECT 'quantity' AS ranking, row_number() OVER (ORDER BY quantity DESC, product_id) AS rank,
                       product_id, quantity, amount
                FROM counted
                UNION ALL
                SELECT 'amount', row_number() OVER (ORDER BY amount DESC, product_id), product_id, quantity, amount
                FROM counted
            ), kept AS (
                SELECT s.ranking, place.rank, place.product_id, place.quantity, place.amount
                FROM popular_snapshot s
                CROSS JOIN LATERAL unnest(s.product_ids, s.quantities, s.amounts) WITH ORDINALITY
                    AS place (product_id, quantity, amount, rank)
                WHERE s.run_id = $4
            )
            SELECT 'by ' || coalesce(e.ranking, k.ranking) || ', rank ' || coalesce(e.rank, k.rank) AS place,
                   'product ' || e.product_id || ': ' || e.quantity || ' for ' || e.amount AS expected,
                   'product ' || k.product_id || ': ' || k.quantity || ' for ' || k.amount AS found,
                   count(*) OVER () AS total
            FROM (SELECT ranking, rank, product_id, quantity, amount FROM expected WHERE rank <= $5) e
            FULL JOIN kept k ON k.ranking = e.ranking AND k.rank = e.rank
            WHERE e.product_id IS DISTINCT FROM k.product_id
                OR e.quantity IS DISTINCT FROM k.quantity
                OR e.amount IS DISTINCT FROM k.amount
            ORDER BY coalesce(e.ranking, k.ranking) DESC, coalesce(e.rank, k.rank)
            LIMIT $6
            """
        )

        static let note = SQLStatement(
            "ranking_note_verification",
            """
            UPDATE aggregation_runs
            SET verified_at = $2, mismatches = $3
            WHERE id = $1
            """
        )
    }
}
