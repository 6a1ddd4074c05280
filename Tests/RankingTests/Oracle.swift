import Foundation
import OrderDomain
import Postgres
import TestSupport
import Testing

/// What the ledger says, by one plain query over all of it and a sort.
enum Oracle {
    /// The window, from its definition and the calendar of Foundation.
    static func window(_ mode: RankingWindow.Mode, endingAt to: Date) throws -> (from: Date, to: Date) {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try zone(mode == .calendar ? "Asia/Seoul" : "UTC")
        switch mode {
        case .minute: return (to - 72 * hour, to)
        case .rolling:
            let full = calendar.dateComponents([.year, .month, .day, .hour], from: to)
            return ((calendar.date(from: full) ?? to) - 72 * hour, to)
        case .calendar:
            let today = calendar.startOfDay(for: to)
            return (calendar.date(byAdding: .day, value: -2, to: today) ?? to, to)
        }
    }

    private static func zone(_ name: String) throws -> TimeZone {
        guard let zone = TimeZone(identifier: name) else {
            throw Missing(description: "there is no time zone \(name)")
        }
        return zone
    }

    /// Both lists, of what the run's snapshot sees.
    static func lists(
        _ mode: RankingWindow.Mode,
        endingAt to: Date,
        run: Int64,
        limit: Int = 1_000,
        on connection: PostgresConnection
    ) async throws -> [Ranking: [RankedProduct]] {
        let window = try window(mode, endingAt: to)
        let rows = try await connection.query(
            count,
            [.timestamp(window.from), .timestamp(window.to), .int64(run)],
            deadline: .now + Shop.timeout
        )
        let products = try rows.map { row in
            RankedProduct(
                productID: try #require(ProductID(try row.get("product_id"))),
                quantity: try row.get("quantity"),
                amount: Money(minorUnits: try row.get("amount"))
            )
        }
        func list(_ value: (RankedProduct) -> Int64) -> [RankedProduct] {
            Array(
                products.sorted {
                    value($0) != value($1) ? value($0) > value($1) : $0.productID.rawValue < $1.productID.rawValue
                }
                .prefix(limit)
            )
        }
        return [.quantity: list(\.quantity), .amount: list(\.amount.minorUnits)]
    }

    /// Whether there is something that the run's snapshot does not see, or that was still to come and has come since.
    static func hasNews(since run: Int64, until now: Date, on connection: PostgresConnection) async throws -> Bool {
        try await connection.query(news, [.int64(run), .timestamp(now)], deadline: .now + Shop.timeout)[0]
            .get("has_news")
    }

    private static let count = SQLStatement(
        "oracle_count",
        """
        SELECT product_id, sum(quantity) AS quantity, sum(amount)::bigint AS amount
        FROM sales_ledger
        WHERE sold_at >= $1 AND sold_at <= $2
            AND pg_visible_in_snapshot(txid, (SELECT target FROM aggregation_runs WHERE id = $3))
        GROUP BY product_id
        HAVING sum(quantity) > 0
        """
    )

    private static let news = SQLStatement(
        "oracle_news",
        """
        SELECT EXISTS (
            SELECT FROM sales_ledger l
            JOIN aggregation_runs r ON r.id = $1
            WHERE NOT pg_visible_in_snapshot(l.txid, r.target) OR l.sold_at > r.window_to AND l.sold_at <= $2
        ) AS has_news
        """
    )
}
