package import Postgres

/// Proves from the database alone what must hold whenever nothing is in flight.
///
/// Every statement looks at whole tables at once, so that the time grows with their size and not with what is wrong.
package enum AuditStore {
    /// How many ids of one rule are shown at most; all are counted.
    package static let shownIDs = 20

    /// What must be true.
    package enum Rule: String, CaseIterable, Sendable {
        case keyStands = "key-stands"
        case rowHasOrder = "row-has-order"
        case rowHasUser = "row-has-user"
        case rowHasProduct = "row-has-product"
        case balanceIsSumOfHistory = "balance-is-sum-of-history"
        case balanceIsNotNegative = "balance-is-not-negative"
        case versionCountsHistory = "version-counts-history"
        case historyIsChain = "history-is-chain"
        case stockAddsUp = "stock-adds-up"
        case stockIsNotNegative = "stock-is-not-negative"
        case itemHasSale = "item-has-sale"
        case cancelledItemIsTakenBack = "cancelled-item-is-taken-back"
        case totalIsSumOfItems = "total-is-sum-of-items"
        case itemIsQuantityTimesPrice = "item-is-quantity-times-price"
        case orderHasPayment = "order-has-payment"
        case refundedIfCancelled = "refunded-if-cancelled"
        case orderHasPaymentEntry = "order-has-payment-entry"
        case cancelledOrderHasRefundEntry = "cancelled-order-has-refund-entry"
        case entriesAreTheBuyers = "entries-are-the-buyers"
        case transitionsReachVersion = "transitions-reach-version"
        case transitionsReachStatus = "transitions-reach-status"
        case transitionFollowsTheLast = "transition-follows-the-last"
        case transitionIsAllowed = "transition-is-allowed"
        case changeHasEvent = "change-has-event"
        case eventHasChange = "event-has-change"
        case eventHasFittingType = "event-has-fitting-type"
        case eventsAreInOrder = "events-are-in-order"
        case eventIsOnce = "event-is-once"
    }

    /// A rule that does not hold.
    package struct Violation: Hashable, Sendable {
        package let rule: Rule
        /// How often it is broken.
        package let total: Int64
        /// The first places, at most ``AuditStore/shownIDs``: see ``AuditStore/Rule/place``.
        package let ids: [String]

        /// Makes a violation.
        package init(rule: Rule, total: Int64, ids: [String]) {
            self.rule = rule
            self.total = total
            self.ids = ids
        }
    }

    /// Checks every rule at one moment, in transactions that only read.
    ///
    /// Two sessions share the work and one snapshot, so that the two long joins run beside each other.
    ///
    /// - Returns: the rules that are broken, in the order of ``Rule``; none when all hold.
    /// - Throws: `PostgresError`.
    package static func violations(
        in database: PostgresConfiguration,
        deadline: ContinuousClock.Instant
    ) async throws -> [Violation] {
        let first = try await PostgresConnection.connect(database, deadline: deadline)
        let second = try await PostgresConnection.connect(database, deadline: deadline)
        let rows = try await rows(first, second, deadline: deadline)
        await first.close()
        await second.close()
        var totals: [Rule: Int64] = [:]
        var ids: [Rule: [String]] = [:]
        for row in rows {
            let rule: Rule = try row.choice("rule")
            totals[rule] = try row.get("total")
            ids[rule, default: []].append(try row.get("id"))
        }
        return Rule.allCases.compactMap { rule in
            totals[rule].map { Violation(rule: rule, total: $0, ids: ids[rule] ?? []) }
        }
    }

    private static func rows(
        _ first: PostgresConnection,
        _ second: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [PostgresRow] {
        let begun = try await first.pipeline(
            [
                PostgresStep(.beginReadOnlySnapshot), PostgresStep(Statements.keepEvents),
                PostgresStep(Statements.exportSnapshot),
            ],
            deadline: deadline
        )
        let snapshot: String = try begun[2][begun[2].startIndex].get("snapshot")
        // SET TRANSACTION SNAPSHOT takes no parameter; the server's own name of a snapshot is digits and hyphens.
        try await second.execute(
            script: "\(SQLStatement.beginReadOnlySnapshot.text); SET TRANSACTION SNAPSHOT '\(snapshot)'",
            deadline: deadline
        )
        async let some = check(Statements.firstChecks, on: first, deadline: deadline)
        async let others = check(Statements.secondChecks, on: second, deadline: deadline)
        return try await some + others
    }

    private static func check(
        _ checks: [SQLStatement],
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [PostgresRow] {
        let limit = PostgresValue.int64(Int64(shownIDs))
        let steps = [PostgresStep(Statements.planMerges)] + checks.map { PostgresStep($0, [limit]) }
        let answers = try await connection.pipeline(steps + [PostgresStep(.rollback)], deadline: deadline)
        return answers.dropFirst().flatMap { Array($0) }
    }
}

extension AuditStore.Rule {
    /// The number of the invariant that the rule is part of; 0 is what all of them rest on.
    package var invariant: Int {
        switch self {
        case .keyStands, .rowHasOrder, .rowHasUser, .rowHasProduct: 0
        case .balanceIsSumOfHistory, .balanceIsNotNegative, .versionCountsHistory, .historyIsChain: 1
        case .stockAddsUp, .stockIsNotNegative, .itemHasSale, .cancelledItemIsTakenBack: 2
        case .totalIsSumOfItems, .itemIsQuantityTimesPrice, .orderHasPayment, .refundedIfCancelled,
            .orderHasPaymentEntry, .cancelledOrderHasRefundEntry, .entriesAreTheBuyers:
            3
        case .transitionsReachVersion, .transitionsReachStatus, .transitionFollowsTheLast, .transitionIsAllowed,
            .changeHasEvent, .eventHasChange, .eventHasFittingType, .eventsAreInOrder, .eventIsOnce:
            4
        }
    }

    /// What the ids of its violations are.
    package var place: String {
        switch self {
        case .keyStands: "key"
        case .rowHasOrder: "order"
        case .rowHasUser, .balanceIsSumOfHistory, .balanceIsNotNegative, .versionCountsHistory: "user"
        case .historyIsChain: "user/version"
        case .rowHasProduct, .stockAddsUp, .stockIsNotNegative: "product"
        case .itemHasSale, .cancelledItemIsTakenBack: "order/product"
        case .totalIsSumOfItems, .itemIsQuantityTimesPrice, .orderHasPayment, .refundedIfCancelled,
            .orderHasPaymentEntry, .cancelledOrderHasRefundEntry, .entriesAreTheBuyers, .transitionsReachVersion,
            .transitionsReachStatus:
            "order"
        case .transitionFollowsTheLast, .transitionIsAllowed, .changeHasEvent, .eventHasChange,
            .eventHasFittingType, .eventsAreInOrder, .eventIsOnce:
            "order/version"
        }
    }
}

extension AuditStore {
    /// Each check answers with rule, id and total. Full joins also find what belongs to no user, product or order.
    enum Statements {
        static let all = [keepEvents, exportSnapshot, planMerges] + firstChecks + secondChecks
        /// Each takes half of the time.
        static let firstChecks = [strays, strangers, sales, events]
        static let secondChecks = [keys, payments, stocks, histories, balances, states, transitions]

        /// Before the snapshot is taken: what the relay's TRUNCATE removes is gone for older snapshots too.
        static let keepEvents = SQLStatement(
            "audit_keep_events",
            "LOCK TABLE outbox_events IN ACCESS SHARE MODE"
        )

        static let exportSnapshot = SQLStatement("audit_export_snapshot", "SELECT pg_export_snapshot() AS snapshot")

        /// Until the transaction ends. Large tables are read in the order of their keys, in which they were written,
        /// and merged: less memory than hash tables of a million orders, and measured to take two thirds of the time.
        static let planMerges = SQLStatement(
            "audit_plan_merges",
            """
            SELECT set_config('enable_hashjoin', 'off', true) AS hash_join,
                   set_config('enable_hashagg', 'off', true) AS hash_aggregate,
                   set_config('work_mem', '128MB', true) AS memory,
                   set_config('jit', 'off', true) AS compilation
            """
        )

        /// That something is there once is what these keys enforce; the other checks rely on them.
        static let keys = SQLStatement(
            "audit_keys",
            """
            WITH missing AS (
                SELECT needed.name,
                       count(*) OVER () AS total,
                       row_number() OVER (ORDER BY needed.name) AS number
                FROM (VALUES
                    ('balance_history_order_key'), ('balance_history_pkey'), ('import_orders_order_id_key'),
                    ('import_orders_pkey'), ('order_items_pkey'),
                    ('order_transitions_pkey'), ('orders_pkey'), ('outbox_events_pkey'),
                    ('payments_pkey'), ('products_pkey'), ('sales_ledger_pkey'), ('users_pkey')
                ) AS needed (name)
                LEFT JOIN pg_index i ON i.indexrelid = to_regclass(needed.name) AND i.indisunique AND i.indisvalid
                WHERE i.indexrelid IS NULL
            )
            SELECT 'key-stands' AS rule, name AS id, total FROM missing WHERE number <= $1 ORDER BY number
            """
        )

        /// What foreign keys do not keep: rows of an order that is not there.
        static let strays = SQLStatement(
            "audit_strays",
            """
            WITH stray AS (
                SELECT i.order_id FROM order_items i
                WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = i.order_id)
                UNION
                SELECT p.order_id FROM payments p
                WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = p.order_id)
                UNION
                SELECT m.order_id FROM import_orders m
                WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = m.order_id)
                UNION
                SELECT h.order_id FROM balance_history h
                WHERE h.order_id IS NOT NULL AND NOT EXISTS (SELECT FROM orders o WHERE o.id = h.order_id)
            ), numbered AS (
                SELECT order_id, count(*) OVER () AS total, row_number() OVER (ORDER BY order_id) AS number
                FROM stray
            )
            SELECT 'row-has-order' AS rule, order_id::text AS id, total
            FROM numbered
            WHERE number <= $1
            ORDER BY number
            """
        )

        /// What foreign keys do not keep either: rows of a user or a product that is not there.
        static let strangers = SQLStatement(
            "audit_strangers",
            """
            WITH stranger AS (
                SELECT 'row-has-user' AS rule, o.user_id AS id FROM orders o
                WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = o.user_id)
                UNION
                SELECT 'row-has-user', h.user_id FROM balance_history h
                WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = h.user_id)
                UNION
                SELECT 'row-has-product', i.product_id FROM order_items i
                WHERE NOT EXISTS (SELECT FROM products p WHERE p.id = i.product_id)
                UNION
                SELECT 'row-has-product', l.product_id FROM sales_ledger l
                WHERE NOT EXISTS (SELECT FROM products p WHERE p.id = l.product_id)
            ), numbered AS (
                SELECT rule, id,
                       count(*) OVER (PARTITION BY rule) AS total,
                       row_number() OVER (PARTITION BY rule ORDER BY id) AS number
                FROM stranger
            )
            SELECT rule, id::text AS id, total FROM numbered WHERE number <= $1 ORDER BY rule, number
            """
        )

        static let balances = SQLStatement(
            "audit_balances",
            """
            WITH history AS (
                SELECT user_id, sum(amount) AS amount, count(*) AS number
                FROM balance_history
                GROUP BY user_id
            ), judged AS (
                SELECT coalesce(u.id, h.user_id) AS id,
                       u.balance IS DISTINCT FROM coalesce(h.amount, 0) AS is_other_than_sum,
                       u.balance < 0 AS is_negative,
                       u.version IS DISTINCT FROM coalesce(h.number, 0) AS is_miscounted
                FROM users u
                FULL JOIN history h ON h.user_id = u.id
            ), broken AS (
                SELECT r.rule, j.id,
                       count(*) OVER (PARTITION BY r.rule) AS total,
                       row_number() OVER (PARTITION BY r.rule ORDER BY j.id) AS number
                FROM judged j
                CROSS JOIN LATERAL (VALUES
                    ('balance-is-sum-of-history', j.is_other_than_sum),
                    ('balance-is-not-negative', j.is_negative),
                    ('version-counts-history', j.is_miscounted)
                ) AS r (rule, is_broken)
                WHERE (j.is_other_than_sum OR j.is_negative OR j.is_miscounted) AND r.is_broken
            )
            SELECT rule, id::text AS id, total FROM broken WHERE number <= $1 ORDER BY rule, number
            """
        )

        static let histories = SQLStatement(
            "audit_histories",
            """
            WITH entry AS (
                SELECT user_id, version, amount, balance_after,
                       lag(version, 1, 0::bigint) OVER chain AS version_before,
                       lag(balance_after, 1, 0::bigint) OVER chain AS balance_before
                FROM balance_history
                WINDOW chain AS (PARTITION BY user_id ORDER BY version)
            ), broken AS (
                SELECT user_id, version,
                       count(*) OVER () AS total,
                       row_number() OVER (ORDER BY user_id, version) AS number
                FROM entry
                WHERE version <> version_before + 1 OR balance_after <> balance_before + amount OR balance_after < 0
            )
            SELECT 'history-is-chain' AS rule, user_id || '/' || version AS id, total
            FROM broken
            WHERE number <= $1
            ORDER BY number
            """
        )

        static let stocks = SQLStatement(
            "audit_stocks",
            """
            WITH adjusted AS (
                SELECT product_id, sum(delta) AS delta
                FROM stock_adjustments
                GROUP BY product_id
            ), sold AS (
                SELECT i.product_id, sum(i.quantity) AS quantity
                FROM order_items i
                JOIN orders o ON o.id = i.order_id
                WHERE o.status <> 'CANCELLED'
                GROUP BY i.product_id
            ), judged AS (
                SELECT coalesce(p.id, a.product_id, s.product_id) AS id,
                       p.stock IS DISTINCT FROM p.initial_stock + coalesce(a.delta, 0) - coalesce(s.quantity, 0)
                           OR p.id IS NULL AS is_other_than_sum,
                       p.stock < 0 AS is_negative
                FROM products p
                FULL JOIN adjusted a ON a.product_id = p.id
                FULL JOIN sold s ON s.product_id = p.id
            ), broken AS (
                SELECT r.rule, j.id,
                       count(*) OVER (PARTITION BY r.rule) AS total,
                       row_number() OVER (PARTITION BY r.rule ORDER BY j.id) AS number
                FROM judged j
                CROSS JOIN LATERAL (VALUES
                    ('stock-adds-up', j.is_other_than_sum),
                    ('stock-is-not-negative', j.is_negative)
                ) AS r (rule, is_broken)
                WHERE r.is_broken
            )
            SELECT rule, id::text AS id, total FROM broken WHERE number <= $1 ORDER BY rule, number
            """
        )

        static let sales = SQLStatement(
            "audit_sales",
            """
            WITH bought AS (
                SELECT i.order_id, i.product_id, i.quantity, i.amount, o.status = 'CANCELLED' AS is_cancelled
                FROM order_items i
                JOIN orders o ON o.id = i.order_id
            ), booked AS (
                SELECT order_id, product_id,
                       max(quantity) FILTER (WHERE kind = 'SALE') AS sold,
                       max(amount) FILTER (WHERE kind = 'SALE') AS sold_amount,
                       -max(quantity) FILTER (WHERE kind = 'CANCEL') AS taken_back,
                       -max(amount) FILTER (WHERE kind = 'CANCEL') AS taken_back_amount,
                       min(sold_at) <> max(sold_at) AS times_differ
                FROM sales_ledger
                GROUP BY order_id, product_id
            ), judged AS (
                SELECT coalesce(i.order_id, l.order_id) AS order_id,
                       coalesce(i.product_id, l.product_id) AS product_id,
                       (l.sold, l.sold_amount) IS DISTINCT FROM (i.quantity, i.amount) AS is_unsold,
                       CASE WHEN i.is_cancelled
                           THEN l.times_differ
                                OR (l.taken_back, l.taken_back_amount) IS DISTINCT FROM (i.quantity, i.amount)
                           ELSE l.taken_back IS NOT NULL
                       END AS is_not_taken_back
                FROM bought i
                FULL JOIN booked l ON l.order_id = i.order_id AND l.product_id = i.product_id
            ), broken AS (
                SELECT r.rule, j.order_id, j.product_id,
                       count(*) OVER (PARTITION BY r.rule) AS total,
                       row_number() OVER (PARTITION BY r.rule ORDER BY j.order_id, j.product_id) AS number
                FROM judged j
                CROSS JOIN LATERAL (VALUES
                    ('item-has-sale', j.is_unsold),
                    ('cancelled-item-is-taken-back', j.is_not_taken_back)
                ) AS r (rule, is_broken)
                WHERE (j.is_unsold OR j.is_not_taken_back) AND r.is_broken
            )
            SELECT rule, order_id || '/' || product_id AS id, total
            FROM broken
            WHERE number <= $1
            ORDER BY rule, number
            """
        )

        static let payments = SQLStatement(
            "audit_payments",
            """
            WITH bought AS (
                SELECT order_id, sum(amount)::bigint AS amount,
                       bool_or(amount <> quantity::bigint * unit_price) AS is_mispriced
                FROM order_items
                GROUP BY order_id
            ), paid AS (
                SELECT order_id, user_id, -amount AS amount
                FROM balance_history
                WHERE type = 'PAYMENT'
            ), refunded AS (
                SELECT order_id, user_id, amount
                FROM balance_history
                WHERE type = 'REFUND'
            ), judged AS (
                SELECT o.id,
                       o.total_amount IS DISTINCT FROM i.amount AS is_other_than_sum,
                       i.is_mispriced,
                       p.amount IS DISTINCT FROM o.total_amount AS is_unpaid,
                       (p.status = 'REFUNDED') <> (o.status = 'CANCELLED') AS is_wrongly_refunded,
                       h.amount IS DISTINCT FROM o.total_amount AS is_not_taken,
                       CASE WHEN o.status = 'CANCELLED'
                           THEN r.amount IS DISTINCT FROM o.total_amount
                           ELSE r.amount IS NOT NULL
                       END AS is_not_given_back,
                       h.user_id <> o.user_id OR r.user_id <> o.user_id AS is_anothers
                FROM orders o
                LEFT JOIN bought i ON i.order_id = o.id
                LEFT JOIN payments p ON p.order_id = o.id
                LEFT JOIN paid h ON h.order_id = o.id
                LEFT JOIN refunded r ON r.order_id = o.id
            ), broken AS (
                SELECT r.rule, j.id,
                       count(*) OVER (PARTITION BY r.rule) AS total,
                       row_number() OVER (PARTITION BY r.rule ORDER BY j.id) AS number
                FROM judged j
                CROSS JOIN LATERAL (VALUES
                    ('total-is-sum-of-items', j.is_other_than_sum),
                    ('item-is-quantity-times-price', j.is_mispriced),
                    ('order-has-payment', j.is_unpaid),
                    ('refunded-if-cancelled', j.is_wrongly_refunded),
                    ('order-has-payment-entry', j.is_not_taken),
                    ('cancelled-order-has-refund-entry', j.is_not_given_back),
                    ('entries-are-the-buyers', j.is_anothers)
                ) AS r (rule, is_broken)
                WHERE r.is_broken
                  AND (j.is_other_than_sum OR j.is_mispriced OR j.is_unpaid OR j.is_wrongly_refunded
                       OR j.is_not_taken OR j.is_not_given_back OR j.is_anothers)
            )
            SELECT rule, id::text AS id, total FROM broken WHERE number <= $1 ORDER BY rule, number
            """
        )

        /// An order is born with version 1, PAID or, if it was imported, DELIVERED, and has no transition then.
        static let states = SQLStatement(
            "audit_states",
            """
            WITH latest AS (
                SELECT DISTINCT ON (order_id) order_id, version, to_status
                FROM order_transitions
                ORDER BY order_id, version DESC
            ), judged AS (
                SELECT coalesce(o.id, t.order_id) AS id,
                       o.version IS DISTINCT FROM coalesce(t.version, 1) AS version_differs,
                       o.status IS DISTINCT FROM coalesce(
                           t.to_status, CASE WHEN m.order_id IS NULL THEN 'PAID' ELSE 'DELIVERED' END
                       ) AS status_differs
                FROM orders o
                FULL JOIN latest t ON t.order_id = o.id
                LEFT JOIN import_orders m ON m.order_id = o.id
            ), broken AS (
                SELECT r.rule, j.id,
                       count(*) OVER (PARTITION BY r.rule) AS total,
                       row_number() OVER (PARTITION BY r.rule ORDER BY j.id) AS number
                FROM judged j
                CROSS JOIN LATERAL (VALUES
                    ('transitions-reach-version', j.version_differs),
                    ('transitions-reach-status', j.status_differs)
                ) AS r (rule, is_broken)
                WHERE (j.version_differs OR j.status_differs) AND r.is_broken
            )
            SELECT rule, id::text AS id, total FROM broken WHERE number <= $1 ORDER BY rule, number
            """
        )

        static let transitions = SQLStatement(
            "audit_transitions",
            """
            WITH step AS (
                SELECT order_id, version, from_status, to_status,
                       lag(version, 1, 1) OVER chain AS version_before,
                       lag(to_status, 1, 'PAID') OVER chain AS status_before
                FROM order_transitions
                WINDOW chain AS (PARTITION BY order_id ORDER BY version)
            ), judged AS (
                SELECT order_id, version,
                       version <> version_before + 1 OR from_status <> status_before AS is_loose,
                       (from_status, to_status) NOT IN (
                           ('PAID', 'PREPARING'), ('PREPARING', 'SHIPPED'), ('SHIPPED', 'DELIVERED'),
                           ('PAID', 'CANCELLED'), ('PREPARING', 'CANCELLED')
                       ) AS is_forbidden
                FROM step
            ), broken AS (
                SELECT r.rule, j.order_id, j.version,
                       count(*) OVER (PARTITION BY r.rule) AS total,
                       row_number() OVER (PARTITION BY r.rule ORDER BY j.order_id, j.version) AS number
                FROM judged j
                CROSS JOIN LATERAL (VALUES
                    ('transition-follows-the-last', j.is_loose),
                    ('transition-is-allowed', j.is_forbidden)
                ) AS r (rule, is_broken)
                WHERE (j.is_loose OR j.is_forbidden) AND r.is_broken
            )
            SELECT rule, order_id || '/' || version AS id, total
            FROM broken
            WHERE number <= $1
            ORDER BY rule, number
            """
        )

        /// Ids of the outbox rise in the order in which the relay sends one order's events. A change from before the
        /// last rotation may have lost its event, which was confirmed by then. What was imported is no news and has
        /// none.
        static let events = SQLStatement(
            "audit_events",
            """
            WITH change AS (
                SELECT o.id AS order_id, 1 AS version, 'order.paid.v1' AS type, o.created_at AS changed_at
                FROM orders o
                WHERE NOT EXISTS (SELECT FROM import_orders m WHERE m.order_id = o.id)
                UNION ALL
                SELECT order_id, version,
                       CASE to_status WHEN 'CANCELLED' THEN 'order.cancelled.v1' ELSE 'order.status-changed.v1' END,
                       changed_at
                FROM order_transitions
            ), event AS (
                SELECT order_id, sequence, type,
                       lag(id) OVER chain > id AS is_too_early,
                       lag(sequence) OVER chain = sequence AS is_repeated
                FROM outbox_events
                WINDOW chain AS (PARTITION BY order_id ORDER BY sequence)
            ), judged AS (
                SELECT coalesce(c.order_id, e.order_id) AS order_id, coalesce(c.version, e.sequence) AS version,
                       e.order_id IS NULL AND c.changed_at > coalesce(
                           (SELECT max(events_until) FROM outbox_rotations), '-infinity'
                       ) AS is_untold,
                       c.order_id IS NULL AS is_invented,
                       e.type <> c.type AS is_misnamed,
                       e.is_too_early,
                       e.is_repeated
                FROM change c
                FULL JOIN event e ON e.order_id = c.order_id AND e.sequence = c.version
            ), broken AS (
                SELECT r.rule, j.order_id, j.version,
                       count(*) OVER (PARTITION BY r.rule) AS total,
                       row_number() OVER (PARTITION BY r.rule ORDER BY j.order_id, j.version) AS number
                FROM judged j
                CROSS JOIN LATERAL (VALUES
                    ('change-has-event', j.is_untold),
                    ('event-has-change', j.is_invented),
                    ('event-has-fitting-type', j.is_misnamed),
                    ('events-are-in-order', j.is_too_early),
                    ('event-is-once', j.is_repeated)
                ) AS r (rule, is_broken)
                WHERE (j.is_untold OR j.is_invented OR j.is_misnamed OR j.is_too_early OR j.is_repeated)
                  AND r.is_broken
            )
            SELECT rule, order_id || '/' || version AS id, total
            FROM broken
            WHERE number <= $1
            ORDER BY rule, number
            """
        )
    }
}
