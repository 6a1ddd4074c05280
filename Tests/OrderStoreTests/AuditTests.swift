import FoundationEssentials
import OrderStore
import Postgres
import TestSupport
import Testing

/// A shop of 65 orders, told by number: what an order is and whose follows from its number, amounts from the seed.
private enum AuditedShop {
    static let seed =
        ProcessInfo.processInfo.environment["JUMUN_SEED"].flatMap { UInt32($0) } ?? UInt32.random(in: 0...UInt32.max)

    /// One order of each kind, chosen by the seed.
    private static let group = 1 + Int(seed % 9)
    static let paid = 6 * group
    static let preparing = 6 * group + 1
    static let shipped = 6 * group + 2
    static let delivered = 6 * group + 3
    static let cancelled = 6 * group + 4
    static let cancelledLate = 6 * group + 5

    static func id(_ order: Int) -> String {
        let number = String(order)
        return "00000000-0000-7000-8000-" + String(repeating: "0", count: 12 - number.count) + number
    }

    static func buyer(_ order: Int) -> Int { 1 + order % 5 }
    static func product(_ order: Int, line: Int) -> Int { 1 + (order + line) % 6 }

    /// Empties all tables and fills them rightly.
    static let rebuild = """
        TRUNCATE users, products, orders, order_items, payments, balance_history, sales_ledger, outbox_events
            RESTART IDENTITY CASCADE;
        CREATE TEMP TABLE draw AS
        SELECT g AS number, ('00000000-0000-7000-8000-' || lpad(g::text, 12, '0'))::uuid AS id, 1 + g % 5 AS user_id,
               g % 6 AS kind, 1 + abs(hashint8extended(g, \(seed)) % 3) AS lines,
               timestamptz '2026-03-01 00:00Z' + g * interval '1 hour' AS at
        FROM generate_series(1, 65) AS g;
        CREATE TEMP TABLE step AS
        SELECT d.number, d.id, s.version, s.before, s.after, d.at + s.version * interval '1 minute' AS at
        FROM draw d
        JOIN (VALUES
            (1, 2, 'PAID', 'PREPARING'),
            (2, 2, 'PAID', 'PREPARING'), (2, 3, 'PREPARING', 'SHIPPED'),
            (3, 2, 'PAID', 'PREPARING'), (3, 3, 'PREPARING', 'SHIPPED'), (3, 4, 'SHIPPED', 'DELIVERED'),
            (4, 2, 'PAID', 'CANCELLED'),
            (5, 2, 'PAID', 'PREPARING'), (5, 3, 'PREPARING', 'CANCELLED')
        ) AS s (kind, version, before, after) ON s.kind = d.kind;
        INSERT INTO users (name, email, created_at, updated_at)
        SELECT 'user', g || '@example.com', now(), now() FROM generate_series(1, 5) AS g ORDER BY g;
        INSERT INTO products (name, price, initial_stock, stock, created_at, updated_at)
        SELECT 'product', 100, 10000, 10000, now(), now() FROM generate_series(1, 6) AS g ORDER BY g;
        INSERT INTO orders
        SELECT d.id, d.user_id,
               (ARRAY['PAID', 'PREPARING', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'CANCELLED'])[kind + 1],
               1, 1 + (SELECT count(*) FROM step s WHERE s.id = d.id), at, at
        FROM draw d;
        INSERT INTO order_items
        SELECT d.id, line, 1 + (number + line) % 6, 'product', quantity, price, quantity * price
        FROM draw d
        CROSS JOIN generate_series(1, lines) AS line
        CROSS JOIN LATERAL (
            SELECT (1 + abs(hashint8extended(number * 8 + line, \(seed)) % 9))::integer AS quantity,
                   1 + abs(hashint8extended(-number * 8 - line, \(seed)) % 5000) AS price
        ) AS random;
        UPDATE orders SET total_amount = (SELECT sum(amount) FROM order_items i WHERE i.order_id = orders.id);
        INSERT INTO payments
        SELECT id, total_amount, CASE status WHEN 'CANCELLED' THEN 'REFUNDED' ELSE 'PAID' END, created_at,
               CASE status WHEN 'CANCELLED' THEN created_at END
        FROM orders;
        INSERT INTO order_transitions SELECT id, version, before, after, NULL, at FROM step;
        INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
        SELECT 0, gen_random_uuid(), id, version, type, now(), '{}'
        FROM (
            SELECT id, 1 AS version, 'order.paid.v1' AS type FROM orders
            UNION ALL
            SELECT id, version, CASE after WHEN 'CANCELLED' THEN 'order.cancelled.v1' ELSE 'order.status-changed.v1' END
            FROM step
        ) AS change
        ORDER BY version, id;
        INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
        SELECT i.order_id, i.product_id, kind, sign * i.quantity, sign * i.amount, o.created_at
        FROM orders o
        JOIN order_items i ON i.order_id = o.id
        JOIN (VALUES ('SALE', 1), ('CANCEL', -1)) AS k (kind, sign) ON kind = 'SALE' OR o.status = 'CANCELLED';
        INSERT INTO stock_adjustments
        SELECT gen_random_uuid(), id, (CASE id % 2 WHEN 0 THEN -1 ELSE 1 END) * (id + \(seed % 100)), 'count', 0, now()
        FROM products;
        UPDATE products
        SET stock = initial_stock + (SELECT sum(delta) FROM stock_adjustments a WHERE a.product_id = products.id)
            - (SELECT coalesce(sum(quantity), 0) FROM sales_ledger l WHERE l.product_id = products.id);
        INSERT INTO balance_history
        SELECT user_id, row_number() OVER chain, gen_random_uuid(), type, amount, sum(amount) OVER chain,
               order_id, now()
        FROM (
            SELECT id AS user_id, 0 AS turn, 'CHARGE' AS type, 100000000 AS amount, NULL::uuid AS order_id FROM users
            UNION ALL SELECT user_id, 1, 'PAYMENT', -total_amount, id FROM orders
            UNION ALL SELECT user_id, 2, 'REFUND', total_amount, id FROM orders WHERE status = 'CANCELLED'
        ) AS entry
        WINDOW chain AS (PARTITION BY user_id ORDER BY turn, order_id);
        UPDATE users
        SET (balance, version) = (SELECT sum(amount), count(*) FROM balance_history h WHERE h.user_id = users.id);
        DROP TABLE draw, step;
        """

    /// So that only the audit notices what is wrong.
    static let dropChecks = """
        DO $$
        DECLARE item record;
        BEGIN
            FOR item IN SELECT conrelid::regclass AS t, conname FROM pg_constraint
                        WHERE contype = 'c' AND connamespace = 'public'::regnamespace AND coninhcount = 0 LOOP
                EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', item.t, item.conname);
            END LOOP;
        END $$;
        SET session_replication_role = replica;
        """
}

/// Something wrong, and all that the audit must say about it.
private struct Corruption {
    let script: String
    let expected: [AuditStore.Rule: [String]]

    init(_ script: String, _ expected: [AuditStore.Rule: [String]]) {
        self.script = script
        self.expected = expected
    }
}

extension Corruption {
    private typealias S = AuditedShop
    private static func of(_ order: Int, _ key: String = "order_id") -> String { "WHERE \(key) = '\(S.id(order))'" }
    private static func place(_ order: Int, line: Int) -> String { "\(S.id(order))/\(S.product(order, line: line))" }
    private static func place(_ order: Int, version: Int) -> String { "\(S.id(order))/\(version)" }

    static let ofBalances = [
        Corruption("UPDATE users SET balance = balance + 1 WHERE id = 1", [.balanceIsSumOfHistory: ["1"]]),
        Corruption(
            "UPDATE users SET balance = -5 WHERE id = 2",
            [.balanceIsSumOfHistory: ["2"], .balanceIsNotNegative: ["2"]]
        ),
        Corruption("UPDATE users SET version = version + 1 WHERE id = 3", [.versionCountsHistory: ["3"]]),
        Corruption(
            "UPDATE balance_history SET balance_after = balance_after + 1 WHERE user_id = 3 AND version = 2",
            [.historyIsChain: ["3/2", "3/3"]]
        ),
        Corruption(
            "DELETE FROM balance_history WHERE user_id = 4 AND version = 1",
            [.balanceIsSumOfHistory: ["4"], .versionCountsHistory: ["4"], .historyIsChain: ["4/2"]]
        ),
        Corruption(
            "INSERT INTO balance_history VALUES (99, 1, gen_random_uuid(), 'CHARGE', 7, 7, NULL, now())",
            [.rowHasUser: ["99"], .balanceIsSumOfHistory: ["99"], .versionCountsHistory: ["99"]]
        ),
    ]

    static let ofStocks = [
        Corruption("UPDATE products SET stock = stock + 1 WHERE id = 2", [.stockAddsUp: ["2"]]),
        Corruption(
            "UPDATE products SET initial_stock = initial_stock - stock - 1, stock = -1 WHERE id = 3",
            [.stockIsNotNegative: ["3"]]
        ),
        Corruption("DELETE FROM stock_adjustments WHERE product_id = 1", [.stockAddsUp: ["1"]]),
        Corruption("UPDATE stock_adjustments SET delta = delta * 2 WHERE product_id = 4", [.stockAddsUp: ["4"]]),
        Corruption(
            "DELETE FROM sales_ledger \(of(S.paid)) AND product_id = \(S.product(S.paid, line: 1))",
            [.itemHasSale: [place(S.paid, line: 1)]]
        ),
        Corruption(
            "UPDATE sales_ledger SET quantity = quantity + 1 \(of(S.shipped)) "
                + "AND product_id = \(S.product(S.shipped, line: 1))",
            [.itemHasSale: [place(S.shipped, line: 1)]]
        ),
        Corruption(
            "INSERT INTO sales_ledger VALUES ('\(S.id(S.paid))', \(S.product(S.paid, line: 4)), 'SALE', 1, 1, now())",
            [.itemHasSale: [place(S.paid, line: 4)]]
        ),
        Corruption(
            "INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at) "
                + "SELECT order_id, product_id, 'CANCEL', -quantity, -amount, sold_at FROM sales_ledger "
                + "\(of(S.paid)) AND product_id = \(S.product(S.paid, line: 1))",
            [.cancelledItemIsTakenBack: [place(S.paid, line: 1)]]
        ),
        Corruption(
            "DELETE FROM sales_ledger \(of(S.cancelled)) AND kind = 'CANCEL' "
                + "AND product_id = \(S.product(S.cancelled, line: 1))",
            [.cancelledItemIsTakenBack: [place(S.cancelled, line: 1)]]
        ),
        Corruption(
            "UPDATE sales_ledger SET sold_at = sold_at + interval '1 s' \(of(S.cancelledLate)) AND kind = 'CANCEL' "
                + "AND product_id = \(S.product(S.cancelledLate, line: 1))",
            [.cancelledItemIsTakenBack: [place(S.cancelledLate, line: 1)]]
        ),
    ]

    static let ofPayments = [
        Corruption(
            "UPDATE orders SET total_amount = total_amount + 1 \(of(S.paid, "id"))",
            [
                .totalIsSumOfItems: [S.id(S.paid)], .orderHasPayment: [S.id(S.paid)],
                .orderHasPaymentEntry: [S.id(S.paid)],
            ]
        ),
        Corruption(
            "UPDATE order_items SET unit_price = unit_price + 1 \(of(S.shipped)) AND line = 1",
            [.itemIsQuantityTimesPrice: [S.id(S.shipped)]]
        ),
        Corruption(
            "DELETE FROM order_items \(of(S.paid)) AND line = 1",
            [
                .totalIsSumOfItems: [S.id(S.paid)], .itemHasSale: [place(S.paid, line: 1)],
                .stockAddsUp: ["\(S.product(S.paid, line: 1))"],
            ]
        ),
        Corruption("DELETE FROM payments \(of(S.delivered))", [.orderHasPayment: [S.id(S.delivered)]]),
        Corruption(
            "UPDATE payments SET amount = amount + 1 \(of(S.preparing))",
            [.orderHasPayment: [S.id(S.preparing)]]
        ),
        Corruption(
            "UPDATE payments SET status = 'REFUNDED' \(of(S.paid))",
            [.refundedIfCancelled: [S.id(S.paid)]]
        ),
        Corruption(
            "UPDATE payments SET status = 'PAID' \(of(S.cancelled))",
            [.refundedIfCancelled: [S.id(S.cancelled)]]
        ),
        Corruption(
            "UPDATE balance_history SET order_id = NULL \(of(S.paid))",
            [.orderHasPaymentEntry: [S.id(S.paid)]]
        ),
        Corruption(
            "UPDATE balance_history SET order_id = NULL \(of(S.cancelled)) AND type = 'REFUND'",
            [.cancelledOrderHasRefundEntry: [S.id(S.cancelled)]]
        ),
        Corruption(
            "UPDATE balance_history SET order_id = '\(S.id(S.paid))', type = 'REFUND' "
                + "WHERE user_id = \(S.buyer(S.paid)) AND version = 1",
            [.cancelledOrderHasRefundEntry: [S.id(S.paid)]]
        ),
        Corruption(
            "UPDATE orders SET user_id = \(S.buyer(S.paid + 1)) \(of(S.paid, "id"))",
            [.entriesAreTheBuyers: [S.id(S.paid)]]
        ),
        Corruption(
            "INSERT INTO payments SELECT '\(ghost)', amount, status, paid_at, refunded_at FROM payments \(of(S.paid))",
            [.rowHasOrder: [ghost]]
        ),
        Corruption(
            "UPDATE balance_history SET order_id = '\(ghost)' \(of(S.paid))",
            [.rowHasOrder: [ghost], .orderHasPaymentEntry: [S.id(S.paid)]]
        ),
        Corruption(
            "UPDATE orders SET user_id = 99 \(of(S.paid, "id"))",
            [.rowHasUser: ["99"], .entriesAreTheBuyers: [S.id(S.paid)]]
        ),
        Corruption(
            """
            UPDATE order_items SET product_id = 99 \(of(S.cancelled)) AND line = 1;
            UPDATE sales_ledger SET product_id = 99 \(of(S.cancelled)) AND product_id = \(S.product(S.cancelled, line: 1))
            """,
            [.rowHasProduct: ["99"]]
        ),
    ]

    static let ofStates = [
        Corruption(
            "UPDATE orders SET version = version + 1 \(of(S.shipped, "id"))",
            [.transitionsReachVersion: [S.id(S.shipped)]]
        ),
        Corruption(
            "UPDATE orders SET status = 'SHIPPED' \(of(S.preparing, "id"))",
            [.transitionsReachStatus: [S.id(S.preparing)]]
        ),
        Corruption(
            "UPDATE orders SET status = 'PREPARING' \(of(S.paid, "id"))",
            [.transitionsReachStatus: [S.id(S.paid)]]
        ),
        Corruption(
            "UPDATE order_transitions SET from_status = 'PAID' \(of(S.cancelledLate)) AND version = 3",
            [.transitionFollowsTheLast: [place(S.cancelledLate, version: 3)]]
        ),
        Corruption(
            "UPDATE order_transitions SET to_status = 'DELIVERED' \(of(S.preparing)); "
                + "UPDATE orders SET status = 'DELIVERED' \(of(S.preparing, "id"))",
            [.transitionIsAllowed: [place(S.preparing, version: 2)]]
        ),
        Corruption(
            "DELETE FROM order_transitions \(of(S.delivered)) AND version = 3",
            [
                .transitionFollowsTheLast: [place(S.delivered, version: 4)],
                .eventHasChange: [place(S.delivered, version: 3)],
            ]
        ),
    ]

    private static let ghost = S.id(999)
    private static let insertEvent =
        "INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data) VALUES "

    static let ofEvents = [
        Corruption(
            "DELETE FROM outbox_events \(of(S.paid))",
            [.changeHasEvent: [place(S.paid, version: 1)]]
        ),
        Corruption(
            insertEvent + "(0, gen_random_uuid(), '\(S.id(S.paid))', 2, 'order.paid.v1', now(), '{}')",
            [.eventHasChange: [place(S.paid, version: 2)]]
        ),
        Corruption(
            insertEvent + "(0, gen_random_uuid(), '\(ghost)', 1, 'order.paid.v1', now(), '{}')",
            [.eventHasChange: ["\(ghost)/1"]]
        ),
        Corruption(
            "UPDATE outbox_events SET type = 'order.status-changed.v1' \(of(S.cancelled)) AND sequence = 2",
            [.eventHasFittingType: [place(S.cancelled, version: 2)]]
        ),
        Corruption(
            "UPDATE outbox_events SET type = 'order.status-changed.v1' \(of(S.paid))",
            [.eventHasFittingType: [place(S.paid, version: 1)]]
        ),
        Corruption(
            "UPDATE outbox_events SET id = DEFAULT \(of(S.delivered)) AND sequence = 2",
            [.eventsAreInOrder: [place(S.delivered, version: 3)]]
        ),
        Corruption(
            "INSERT INTO outbox_events (slot, shard, event_id, order_id, sequence, type, occurred_at, data) "
                + "SELECT (slot + 1) % 4, shard, event_id, order_id, sequence, type, occurred_at, data "
                + "FROM outbox_events \(of(S.paid))",
            [.eventIsOnce: [place(S.paid, version: 1)]]
        ),
    ]

    static let all = ofBalances + ofStocks + ofPayments + ofStates + ofEvents
}

@Suite("The audit", .timeLimit(.minutes(2)))
struct AuditTests {
    /// A shop that may be broken, filled rightly, and a session that breaks it.
    private func withAuditedShop(
        _ body: (_ session: PostgresConnection, _ database: PostgresConfiguration) async throws -> Void
    ) async throws {
        print("seed of the audited shop: JUMUN_SEED=\(AuditedShop.seed)")
        try await Shop.withShop { shop in
            let session = try await shop.connect()
            try await run(AuditedShop.rebuild, session)
            let database = try PostgresConfiguration(url: shop.url, applicationName: "jumun-tests")
            #expect(try await violations(database) == [])
            try await run(AuditedShop.dropChecks, session)
            try await body(session, database)
            await session.close()
        }
    }

    private func run(_ script: String, _ session: PostgresConnection) async throws {
        try await session.execute(script: script, deadline: .now + Shop.timeout)
    }

    private func violations(_ database: PostgresConfiguration) async throws -> [AuditStore.Violation] {
        try await AuditStore.violations(in: database, deadline: .now + Shop.timeout)
    }

    @Test("a right shop is clean, and each thing that is wrong is found in its place, and nothing else")
    func findsEachCorruption() async throws {
        try await withAuditedShop { session, database in
            for corruption in Corruption.all {
                try await run(AuditedShop.rebuild, session)
                try await run(corruption.script, session)
                let found = try await violations(database)
                let places = Dictionary(uniqueKeysWithValues: found.map { ($0.rule, $0.ids) })
                #expect(places == corruption.expected, "\(corruption.script)")
                #expect(found.allSatisfy { $0.total == $0.ids.count }, "\(corruption.script)")
            }
        }
    }

    @Test("every rule is broken by one of the corruptions at least")
    func corruptsEveryRule() {
        let broken = Set(Corruption.all.flatMap(\.expected.keys)).union([.keyStands])
        #expect(broken == Set(AuditStore.Rule.allCases))
    }

    @Test("a key that was dropped is named, and a second payment with it can no longer go unnoticed")
    func findsDroppedKey() async throws {
        try await withAuditedShop { session, database in
            try await run(
                "ALTER TABLE payments DROP CONSTRAINT payments_pkey; INSERT INTO payments SELECT * FROM payments",
                session
            )
            let expected = AuditStore.Violation(rule: .keyStands, total: 1, ids: ["payments_pkey"])
            #expect(try await violations(database) == [expected])
        }
    }

    @Test("a change needs no event any more from before the last rotation of the outbox, and does from after it")
    func knowsRotation() async throws {
        try await withAuditedShop { session, database in
            try await run(
                """
                DELETE FROM outbox_events
                WHERE order_id IN ('\(AuditedShop.id(19))', '\(AuditedShop.id(20))', '\(AuditedShop.id(21))');
                INSERT INTO outbox_rotations
                SELECT now(), 0, created_at FROM orders WHERE id = '\(AuditedShop.id(20))'
                """,
                session
            )
            let places = ["20/2", "20/3", "21/1", "21/2", "21/3", "21/4"].map {
                AuditedShop.id(Int($0.prefix(2)) ?? 0) + $0.dropFirst(2)
            }
            let expected = AuditStore.Violation(rule: .changeHasEvent, total: 6, ids: places)
            #expect(try await violations(database) == [expected])
        }
    }

    @Test("all violations of a rule are counted, and the first of them shown")
    func boundsIDs() async throws {
        try await withAuditedShop { session, database in
            try await run("UPDATE payments SET amount = amount + 1", session)
            let ids = (1...AuditStore.shownIDs).map(AuditedShop.id)
            let expected = AuditStore.Violation(rule: .orderHasPayment, total: 65, ids: ids)
            #expect(try await violations(database) == [expected])
        }
    }
}
