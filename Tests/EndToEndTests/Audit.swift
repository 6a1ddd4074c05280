import Postgres
import Testing

/// What must be true in the database whenever nothing is in flight, as SQL that counts what breaks it.
enum Audit {
    private static let checks = [
        SQLStatement(
            "audit_balance_is_sum_of_history",
            """
            SELECT count(*) AS wrong FROM users u
            WHERE u.balance < 0
               OR u.balance <> (SELECT coalesce(sum(h.amount), 0) FROM balance_history h WHERE h.user_id = u.id)
               OR u.version <> (SELECT count(*) FROM balance_history h WHERE h.user_id = u.id)
            """
        ),
        SQLStatement(
            "audit_history_is_a_chain",
            """
            SELECT count(*) AS wrong FROM (
                SELECT version, amount, balance_after,
                       lag(balance_after, 1, 0::bigint) OVER chain AS before,
                       row_number() OVER chain AS number
                FROM balance_history
                WINDOW chain AS (PARTITION BY user_id ORDER BY version)
            ) h
            WHERE h.version <> h.number OR h.balance_after <> h.before + h.amount
            """
        ),
        SQLStatement(
            "audit_stock_is_first_minus_sold",
            """
            SELECT count(*) AS wrong FROM products p
            WHERE p.stock < 0
               OR p.stock <> p.initial_stock
                    + (SELECT coalesce(sum(a.delta), 0) FROM stock_adjustments a WHERE a.product_id = p.id) - (
                    SELECT coalesce(sum(i.quantity), 0) FROM order_items i JOIN orders o ON o.id = i.order_id
                    WHERE i.product_id = p.id AND o.status <> 'CANCELLED')
            """
        ),
        SQLStatement(
            "audit_order_is_sum_of_items",
            """
            SELECT count(*) AS wrong FROM orders o
            WHERE o.total_amount IS DISTINCT FROM (SELECT sum(i.amount) FROM order_items i WHERE i.order_id = o.id)
            """
        ),
        SQLStatement(
            "audit_order_is_paid_once",
            """
            SELECT count(*) AS wrong FROM orders o
            WHERE (SELECT count(*) FROM payments p WHERE p.order_id = o.id AND p.amount = o.total_amount) <> 1
               OR (SELECT count(*) FROM balance_history h WHERE h.order_id = o.id AND h.type = 'PAYMENT') <> 1
               OR NOT EXISTS (
                    SELECT FROM balance_history h
                    WHERE h.order_id = o.id AND h.user_id = o.user_id AND h.type = 'PAYMENT'
                      AND h.amount = -o.total_amount)
            """
        ),
        SQLStatement(
            "audit_cancelled_order_is_refunded_once",
            """
            SELECT count(*) AS wrong FROM orders o
            WHERE (SELECT count(*) FROM balance_history h
                   WHERE h.order_id = o.id AND h.type = 'REFUND' AND h.amount = o.total_amount)
               <> CASE o.status WHEN 'CANCELLED' THEN 1 ELSE 0 END
            """
        ),
        SQLStatement(
            "audit_change_of_state_has_one_event",
            """
            SELECT count(*) AS wrong FROM orders o
            WHERE o.version <> (SELECT count(*) FROM outbox_events e
                                WHERE e.order_id = o.id AND e.sequence BETWEEN 1 AND o.version)
            """
        ),
    ]

    /// Runs all checks at one moment.
    static func expectNothingWrong(databaseURL: String) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        let configuration = try PostgresConfiguration(url: databaseURL, applicationName: "end-to-end-tests")
        let connection = try await PostgresConnection.connect(configuration, deadline: deadline)
        let steps = [PostgresStep(.beginReadOnlySnapshot)] + checks.map { PostgresStep($0) } + [PostgresStep(.rollback)]
        let answers = try await connection.pipeline(steps, deadline: deadline).dropFirst()
        for (check, rows) in zip(checks, answers) {
            let wrong: Int64 = try #require(rows.first).get("wrong")
            #expect(wrong == 0, "\(check.name)")
        }
        await connection.close()
    }
}
