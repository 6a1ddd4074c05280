import FoundationEssentials
import Postgres
import TestSupport
import Testing

@testable import OrderStore

/// How the server goes about the statements that every request runs, once the tables are large.
@Suite("Plans of the hot statements", .timeLimit(.minutes(2)))
struct PlanTests {
    /// A statement with parameters as SQL has them.
    private struct Run {
        let statement: SQLStatement
        let parameters: String

        init(_ statement: SQLStatement, _ parameters: String) {
            self.statement = statement
            self.parameters = parameters
        }
    }

    /// What an order touches is found by its key, whatever the size of the tables.
    private static let commits: [Run] = [
        Run(CommitStore.Statements.lockProducts, "'{5,700,19000}'"),
        Run(CommitStore.Statements.readAccounts, "'{5,700,19000}'"),
        Run(CommitStore.Statements.lockAccounts, "'{5,700,19000}'"),
        Run(CommitStore.Statements.lockOrders, "ARRAY[test_order(5), test_order(700)]"),
        Run(CommitStore.Statements.readKeys, "'{5,700}', '{key-5,key-700}', '2026-01-01'"),
        Run(
            CommitStore.Statements.updateBalances,
            "'{5,700}', '{10,20}', '{1,1}', '{2,2}', '{2026-01-02,2026-01-02}'"
        ),
        Run(CommitStore.Statements.updateStocks, "'{5,700}', '{10,20}', '2026-01-02'"),
        Run(
            CommitStore.Statements.updateOrders,
            "ARRAY[test_order(5), test_order(700)], '{CANCELLED,CANCELLED}', '{2,2}', '{2026-02-02,2026-02-02}'"
        ),
        Run(
            CommitStore.Statements.refundPayments,
            "ARRAY[test_order(5), test_order(700)], '{2026-02-02,2026-02-02}'"
        ),
    ]

    private static let reads: [Run] = [
        Run(OrderReader.Statements.selectOrders(.byID), "ARRAY[test_order(700)]"),
        Run(OrderReader.Statements.selectOrders(.ofUser), "700, NULL, test_order(29999), 21"),
        Run(OrderReader.Statements.selectOrders(.ofUser), "700, 'PAID', test_order(29999), 101"),
        Run(OrderReader.Statements.selectOrders(.inStatus), "'PAID', test_order(29999), 21"),
        Run(OrderReader.Statements.selectOrders(.all), "test_order(29999), 101"),
        Run(OrderReader.Statements.selectItems, "test_orders(100)"),
        Run(OrderReader.Statements.selectTransitions, "test_order(700)"),
        Run(UserStore.Statements.selectUser, "700"),
        Run(UserStore.Statements.selectBalanceHistory, "700, NULL, 9223372036854775807, 21"),
        Run(UserStore.Statements.selectBalanceHistory, "700, 'REFUND', 9223372036854775807, 101"),
        Run(ProductStore.Statements.selectProducts, "'{5,700,19000}'"),
        Run(ProductStore.Statements.lockProduct, "700"),
        Run(ProductStore.Statements.updateStock, "700, 10, '2026-01-02'"),
    ]

    /// First pages and pages from the middle.
    private static let catalogue: [Run] = [
        Run(ProductStore.Statements.list(.createdAt), "'1970-01-01', 0, NULL, NULL, 21"),
        Run(ProductStore.Statements.list(.createdAt), "'2026-01-03', 10000, NULL, NULL, 101"),
        Run(
            ProductStore.Statements.list(.createdAtDescending),
            "'5138-11-16', 9223372036854775807, NULL, NULL, 21"
        ),
        Run(ProductStore.Statements.list(.createdAtDescending), "'2026-01-03', 10000, NULL, 'Tea', 101"),
        Run(ProductStore.Statements.list(.price), "0, 0, NULL, NULL, 21"),
        Run(ProductStore.Statements.list(.price), "500, 10000, NULL, 'Tea', 101"),
        Run(
            ProductStore.Statements.list(.priceDescending),
            "9223372036854775807, 9223372036854775807, NULL, NULL, 21"
        ),
        Run(ProductStore.Statements.list(.name), "'', 0, NULL, NULL, 21"),
        Run(ProductStore.Statements.list(.name), "'Product 5', 10000, NULL, 'Tea', 101"),
        Run(
            ProductStore.Statements.list(.nameDescending),
            "repeat(chr(1114111), 201), 9223372036854775807, NULL, NULL, 21"
        ),
    ]

    /// What a relay asks all the time, in its own session; all is confirmed.
    private static let relay: [Run] = [
        Run(OutboxStore.Statements.readCursors, "'{3,5}'"),
        Run(OutboxStore.Statements.look, "'{3}', ARRAY[pg_current_snapshot()::text], ARRAY[NULL::text], '{0}', 500"),
        Run(OutboxStore.Statements.readEvents, "ARRAY[outbox_slot(now())], ARRAY[test_order(700)], '{1}'"),
        Run(OutboxStore.Statements.pending, ""),
    ]

    @Test("no hot statement reads a large table from end to end, as first planned and as planned for good")
    func readsNoLargeTable() async throws {
        try await Shop.withShop { shop in
            let connection = try await shop.connect()
            let deadline = ContinuousClock.now + .seconds(90)
            try await connection.execute(script: Self.fill, deadline: deadline)
            try await connection.execute(script: Self.explain, deadline: deadline)
            let large = try await connection.query(Self.largeTables, deadline: deadline)
                .map { try $0.get("name", as: String.self) }
            #expect(large.count == 9, "\(large)")
            for run in Self.commits + Self.reads + Self.catalogue {
                try await expectNoScan(run, of: large, on: connection)
            }
            let relay = try await shop.connect()
            try await OutboxStore.enlist(relay, deadline: deadline)
            for run in Self.relay { try await expectNoScan(run, of: large, on: relay) }
            await relay.close()
            // That a scan would be seen.
            let scan = try await connection.query(
                Self.plans,
                [.text("SELECT id FROM orders WHERE total_amount = $1::bigint"), .text("5")],
                deadline: deadline
            )
            #expect(try scan.first?.get("plan", as: String.self).contains("Seq Scan on orders ") == true)
            await connection.close()
        }
    }

    @Test("what a relay asks is planned for a large outbox while it is still empty")
    func plansForGrowth() async throws {
        try await Shop.withShop { shop in
            let connection = try await shop.connect()
            let deadline = ContinuousClock.now + .seconds(30)
            try await connection.execute(script: Self.explain, deadline: deadline)
            try await OutboxStore.enlist(connection, deadline: deadline)
            let look = Run(
                OutboxStore.Statements.look,
                "'{3}', ARRAY['90:95:92'], ARRAY[NULL::text], '{0}', 500"
            )
            let read = Run(
                OutboxStore.Statements.readEvents,
                "'{0}', ARRAY['019c0a2f-0000-7000-8000-000000000000'::uuid], '{1}'"
            )
            for run in [look, read, Run(OutboxStore.Statements.pending, "")] {
                let plans = try await connection.query(
                    Self.plans,
                    [.text(run.statement.text), .text(run.parameters)],
                    deadline: deadline
                )
                for row in plans {
                    let plan: String = try row.get("plan")
                    #expect(!plan.contains("Hash Join") && !plan.contains("Merge Join"), "\(plan)")
                    // Each look at the events begins at a transaction, or at an order.
                    let lines = plan.split(separator: "\n")
                    for (scan, condition) in zip(lines, lines.dropFirst()) where scan.contains(" on outbox_events_") {
                        #expect(condition.contains("txid") || condition.contains("order_id"), "\(plan)")
                    }
                    let isByIndex = plan.contains("txid = running.txid") || plan.contains("order_id = place.order_id")
                    #expect(isByIndex, "\(plan)")
                }
            }
            await connection.close()
        }
    }

    private func expectNoScan(_ run: Run, of large: [String], on connection: PostgresConnection) async throws {
        let plans = try await connection.query(
            Self.plans,
            [.text(run.statement.text), .text(run.parameters)],
            deadline: .now + .seconds(10)
        )
        for row in plans {
            let plan: String = try row.get("plan")
            for table in large {
                #expect(!plan.contains("Seq Scan on \(table) "), "\(run.statement.name)(\(run.parameters))\n\(plan)")
            }
        }
    }

    private static let largeTables = SQLStatement(
        "plan_large_tables",
        """
        SELECT relname::text AS name FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples >= 10000
        ORDER BY 1
        """
    )

    private static let plans = SQLStatement(
        "plan_explain",
        "SELECT DISTINCT plan FROM test_plans($1, $2) AS plan"
    )

    /// A prepared statement is planned anew for its first five executions; then the server may keep one plan for all.
    private static let explain = """
        CREATE FUNCTION test_plans(statement text, parameters text) RETURNS SETOF text LANGUAGE plpgsql AS $$
        DECLARE
            line text;
            plan text;
            execution text := 'EXECUTE test_statement' || CASE parameters WHEN '' THEN '' ELSE '(' || parameters || ')' END;
        BEGIN
            EXECUTE 'PREPARE test_statement AS ' || statement;
            FOR run IN 1..8 LOOP
                plan := '';
                FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || execution LOOP
                    plan := plan || line || E' \\n';
                END LOOP;
                RETURN NEXT plan;
            END LOOP;
            DEALLOCATE test_statement;
        END
        $$;
        """

    private static let fill = """
        CREATE FUNCTION test_order(number integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
            SELECT ('019c0a2f-' || lpad(to_hex(number), 4, '0') || '-7000-8000-' || lpad(to_hex(number * 7919), 12, '0'))::uuid
        $$;
        CREATE FUNCTION test_orders(count integer) RETURNS uuid[] LANGUAGE sql IMMUTABLE AS $$
            SELECT array_agg(test_order(n)) FROM generate_series(1, count) AS n
        $$;
        INSERT INTO users (name, email, balance, version, created_at, updated_at)
        SELECT 'User ' || n, 'user' || n || '@example.com', 1000, 1, '2026-01-01', '2026-01-01'
        FROM generate_series(1, 20000) AS n;
        INSERT INTO products (name, category, price, initial_stock, stock, created_at, updated_at)
        SELECT 'Product ' || n, CASE n % 10 WHEN 0 THEN 'Tea' END, 1 + n % 1000, 100, 100,
            timestamptz '2026-01-01' + n * interval '20 seconds', '2026-01-01'
        FROM generate_series(1, 20000) AS n;
        INSERT INTO orders (id, user_id, status, total_amount, version, created_at, updated_at)
        SELECT test_order(n), 1 + n % 10000, CASE n % 5 WHEN 0 THEN 'DELIVERED' ELSE 'PAID' END, 100, 1, '2026-01-01',
            '2026-01-01'
        FROM generate_series(1, 30000) AS n;
        INSERT INTO order_items (order_id, line, product_id, product_name, quantity, unit_price, amount)
        SELECT test_order(n), line, line * 7, 'Product', 1, 50, 50
        FROM generate_series(1, 30000) AS n, generate_series(1, 2) AS line;
        INSERT INTO payments (order_id, amount, status, paid_at)
        SELECT test_order(n), 100, 'PAID', '2026-01-01' FROM generate_series(1, 30000) AS n;
        INSERT INTO order_transitions (order_id, version, from_status, to_status, changed_at)
        SELECT test_order(n), 2, 'PAID', 'PREPARING', '2026-01-01' FROM generate_series(1, 30000) AS n;
        INSERT INTO balance_history (user_id, version, id, type, amount, balance_after, created_at)
        SELECT 1 + n % 10000, 1 + n / 10000, gen_random_uuid(), 'CHARGE', 10, 10, '2026-01-01'
        FROM generate_series(1, 30000) AS n;
        INSERT INTO idempotency_keys (user_id, key, fingerprint, status, content_type, body, created_at)
        SELECT n, 'key-' || n, decode(repeat('00', 32), 'hex'), 201, 'application/json', '{}', '2026-01-01'
        FROM generate_series(1, 30000) AS n;
        INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
        SELECT n % 8, gen_random_uuid(), test_order(n), 1, 'order.paid.v1', '2026-01-01', '{}'
        FROM generate_series(1, 30000) AS n;
        INSERT INTO outbox_acks (shard, slot, n, base, target, after_id, last_id, epoch, at)
        SELECT a.shard, outbox_slot(now()), a.n + 1, pg_current_snapshot(), pg_current_snapshot(), 0, e.id, a.epoch, now()
        FROM outbox_acks a, (SELECT max(id) AS id FROM outbox_events) AS e;
        ANALYZE;
        """
}
