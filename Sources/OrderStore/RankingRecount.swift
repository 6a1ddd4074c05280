import FoundationEssentials
import OrderDomain
import Postgres
import Synchronization

/// Counting the hours from the ledger: the first run, a rebuild, a window that begins before the hours that are kept.
extension RankingStore {
    /// How many connections count days beside each other.
    private static let counters = 4

    /// Writes hours and totals anew, in the transaction that `connection` is in.
    ///
    /// The days are shared among a few connections, which see the same snapshot; an hour at a time goes through this
    /// process, so that memory is bounded by what is sold in an hour.
    static func recount(
        _ window: RankingWindow,
        keptFrom: Date,
        on connection: PostgresConnection,
        in database: PostgresConfiguration,
        deadline: ContinuousClock.Instant
    ) async throws -> Taken {
        let begun = try await connection.pipeline(
            [
                PostgresStep(Statements.planForLists), PostgresStep(RecountStatements.exportSnapshot),
                PostgresStep(RecountStatements.hoursWithSales, [.timestamp(keptFrom)]),
                PostgresStep(RecountStatements.forgetAllHours),
                PostgresStep(RecountStatements.forgetAllProducts),
            ],
            deadline: deadline
        )
        let snapshot: String = try begun[1][0].get("snapshot")
        let hours = try begun[2].map { try $0.get("hour", as: Date.self) }
        let days = Days(hours)
        let rowsRead = try await withThrowingTaskGroup(of: Int64.self) { group in
            for _ in 0..<min(counters, days.count) {
                group.addTask {
                    try await count(days, snapshot: snapshot, in: database, into: connection, deadline: deadline)
                }
            }
            return try await group.reduce(0, +)
        }
        let totals = try await connection.query(
            RecountStatements.sumHours,
            [.timestamp(window.firstHour), .timestamp(window.endHour)],
            deadline: deadline
        )
        return Taken(rowsRead: rowsRead, productsTouched: Int64(totals.affectedRows), keptFrom: keptFrom)
    }

    /// The hours to be counted, taken a day at a time.
    private final class Days: Sendable {
        let count: Int
        private let rest: Mutex<[[Date]]>

        init(_ hours: [Date]) {
            let days = Dictionary(grouping: hours) { ($0.timeIntervalSince1970 / 86_400).rounded(.down) }
            count = days.count
            rest = Mutex(days.sorted { $0.key > $1.key }.map(\.value))
        }

        func next() -> [Date]? {
            rest.withLock { $0.popLast() }
        }
    }

    /// Counts days until none is left; returns how many rows of the ledger they had.
    @concurrent private static func count(
        _ days: Days,
        snapshot: String,
        in database: PostgresConfiguration,
        into writer: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int64 {
        let reader = try await PostgresConnection.connect(database, deadline: deadline)
        do {
            // SET TRANSACTION SNAPSHOT takes no parameter; the server's own name of a snapshot is digits and hyphens.
            try await reader.execute(
                script: "\(SQLStatement.beginReadOnlySnapshot.text); SET TRANSACTION SNAPSHOT '\(snapshot)'",
                deadline: deadline
            )
            var rowsRead: Int64 = 0
            while let hours = days.next() {
                for hour in hours {
                    rowsRead += try await count(hour, on: reader, into: writer, deadline: deadline)
                }
            }
            await reader.close()
            return rowsRead
        } catch {
            await reader.close()
            throw error
        }
    }

    private static func count(
        _ hour: Date,
        on reader: PostgresConnection,
        into writer: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int64 {
        let bounds = [PostgresValue.timestamp(hour), .timestamp(Date(timeInterval: 3_600, since: hour))]
        let rows = try await reader.query(RecountStatements.countHour, bounds, deadline: deadline)
        var (products, quantities, amounts): ([Int64], [Int64], [Int64]) = ([], [], [])
        var rowsRead: Int64 = 0
        for row in rows {
            products.append(try row.get("product_id"))
            quantities.append(try row.get("quantity"))
            amounts.append(try row.get("amount"))
            rowsRead += try row.get("rows", as: Int64.self)
        }
        _ = try await writer.query(
            RecountStatements.insertHour,
            [.timestamp(hour), .int64Array(products), .int64Array(quantities), .int64Array(amounts)],
            deadline: deadline
        )
        return rowsRead
    }
}

extension RankingStore {
    enum RecountStatements {
        static let all = [
            exportSnapshot, hoursWithSales, forgetAllHours, forgetAllProducts, countHour, insertHour, sumHours,
        ]

        static let exportSnapshot = SQLStatement(
            "ranking_export_snapshot",
            """
            SELECT pg_export_snapshot() AS snapshot
            """
        )

        /// One look into the index an hour, so that a sale in a distant year costs no more than another.
        static let hoursWithSales = SQLStatement(
            "ranking_hours_with_sales",
            """
            WITH RECURSIVE sold (hour) AS (
                SELECT date_trunc('hour', min(sold_at), 'UTC')
                FROM sales_ledger
                WHERE sold_at >= $1
                UNION ALL
                SELECT (
                    SELECT date_trunc('hour', min(l.sold_at), 'UTC')
                    FROM sales_ledger l
                    WHERE l.sold_at >= sold.hour + interval '1 hour'
                )
                FROM sold
                WHERE sold.hour IS NOT NULL
            )
            SELECT hour FROM sold WHERE hour IS NOT NULL ORDER BY hour
            """
        )

        static let forgetAllHours = SQLStatement("ranking_forget_all_hours", "DELETE FROM sales_hourly")

        static let forgetAllProducts = SQLStatement("ranking_forget_all_products", "DELETE FROM sales_window")

        static let countHour = SQLStatement(
            "ranking_count_hour",
            """
            SELECT product_id, count(*) AS rows, sum(quantity) AS quantity, sum(amount)::bigint AS amount
            FROM sales_ledger
            WHERE sold_at >= $1 AND sold_at < $2
            GROUP BY product_id
            """
        )

        static let insertHour = SQLStatement(
            "ranking_insert_hour",
            """
            INSERT INTO sales_hourly (hour, product_id, quantity, amount)
            SELECT $1, product_id, quantity, amount
            FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS counted (product_id, quantity, amount)
            """
        )

        static let sumHours = SQLStatement(
            "ranking_sum_hours",
            """
            INSERT INTO sales_window (product_id, quantity, amount)
            SELECT product_id, sum(quantity), sum(amount)
            FROM sales_hourly
            WHERE hour >= $1 AND hour < $2
            GROUP BY product_id
            HAVING sum(quantity) > 0
            """
        )
    }
}
