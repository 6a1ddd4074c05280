import FoundationEssentials
import Postgres
import TestSupport
import Testing

@testable import OrderStore

@Suite("The clean-up", .timeLimit(.minutes(2)))
struct CleanUpTests {
    /// Old rows and new ones, 30 days being the limit of all but the keys.
    private static let rows = """
        INSERT INTO idempotency_keys (user_id, key, fingerprint, status, content_type, body, created_at)
        SELECT n, 'k', sha256('a'), 201, 'application/json', '{}', now() - n * interval '1 hour'
        FROM generate_series(1, 12000) AS n;
        INSERT INTO job_runs (job, scheduled_for, started_at, finished_at, result)
        SELECT job, t, t, t, 'ok'
        FROM unnest(ARRAY['often', 'once']) AS job, LATERAL (
            SELECT now() - n * interval '1 day' AS t FROM generate_series(1, 40) AS n WHERE job = 'often' OR n = 40
        ) AS times;
        INSERT INTO job_runs (job, scheduled_for, started_at, result) VALUES ('waits', '2020-01-01', now(), 'queued');
        INSERT INTO event_deliveries (order_id, event_id, attempts, status, duration_ms, occurred_at, delivered_at)
        SELECT (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '7000' || '8000000000000000')::uuid,
            gen_random_uuid(), 1, 202, 5, t, t
        FROM (SELECT now() - n * interval '1 day' AS t FROM generate_series(1, 40) AS n) AS times;
        INSERT INTO delivery_attempts (
            order_id, event_id, attempts, outcome, error, fingerprint, duration_ms, attempted_at
        )
        SELECT gen_random_uuid(), gen_random_uuid(), 1, 'RETRIED', 'e', 'f', 5, now() - n * interval '1 day'
        FROM generate_series(1, 40) AS n;
        INSERT INTO aggregation_runs (
            trigger, as_of, window_from, window_to, base, target, rows_read, products_touched, started_at, finished_at
        )
        SELECT 'manual', now(), now() - interval '1 day', now(), pg_current_snapshot(), pg_current_snapshot(), 0, 0,
            now() - interval '40 days', now() - interval '40 days'
        FROM generate_series(1, 1005);
        """

    @Test("old rows go in batches with the rights of the cleaner, and what is still needed stays")
    func removes() async throws {
        try await Shop.withShop { shop in
            let owner = try await shop.connect()
            try await owner.execute(script: Self.rows, deadline: .now + Shop.timeout)
            let connection = try await cleaner(shop)
            var removed: [CleanUp.Target: Int] = [:]
            for target in CleanUp.Target.allCases {
                removed[target] = try await CleanUp.remove(
                    target,
                    at: .now,
                    on: connection,
                    deadline: .now + Shop.timeout
                )
                let again = try await CleanUp.remove(target, at: .now, on: connection, deadline: .now + Shop.timeout)
                #expect(again == 0)
            }
            #expect(
                removed == [
                    .idempotencyKeys: 12_000 - 24, .jobRuns: 11, .aggregationRuns: 4, .eventDeliveries: 11,
                    .deliveryAttempts: 11,
                ]
            )
            let rest = try await owner.query(
                SQLStatement(
                    "rest_of_jobs",
                    "SELECT job, count(*) AS runs FROM job_runs GROUP BY job ORDER BY job"
                ),
                deadline: .now + Shop.timeout
            )
            let jobs = try rest.map { "\(try $0.get("job", as: String.self)): \(try $0.get("runs", as: Int64.self))" }
            #expect(jobs == ["often: 29", "once: 1", "waits: 1"])
            await connection.close()
            await owner.close()
        }
    }

    @Test("the cleaner may not touch orders or money")
    func isLimited() async throws {
        try await Shop.withShop { shop in
            let connection = try await cleaner(shop)
            for table in ["orders", "payments", "users", "balance_history", "outbox_events", "sales_ledger"] {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.execute(script: "DELETE FROM \(table)", deadline: .now + Shop.timeout)
                }
                #expect(error?.sqlState?.rawValue == "42501", "\(table)")
            }
            await connection.close()
        }
    }

    private func cleaner(_ shop: Shop) async throws -> PostgresConnection {
        var components = try #require(URLComponents(string: shop.url))
        components.user = "jumun_cleaner"
        let password = try #require(ProcessInfo.processInfo.environment["JUMUN_TEST_ROLE_PASSWORD"])
        components.password = password
        return try await PostgresConnection.connect(
            PostgresConfiguration(url: components.string ?? "", applicationName: "jumun-tests"),
            deadline: .now + Shop.timeout
        )
    }
}
