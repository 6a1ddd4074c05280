import FoundationEssentials
import Postgres
import TestSupport
import Testing

@testable import OrderStore

@Suite("The schema", .timeLimit(.minutes(2)))
struct SchemaTests {
    @Test("every statement can be prepared on the migrated schema, under a name of its own")
    func preparesEverything() async throws {
        #expect(Set(allStatements.map(\.name)).count == allStatements.count)
        try await Shop.withShop { shop in
            let connection = try await shop.connect()
            for statement in allStatements {
                do {
                    try await connection.prepare(statement, deadline: .now + Shop.timeout)
                } catch {
                    Issue.record("\(statement.name): \(String(reflecting: error))")
                }
            }
            await connection.close()
        }
    }

    @Test("migrations go forward twice without doing anything twice, all the way back, and forward again")
    func migratesBothWays() async throws {
        try await Shop.withShop { shop in
            try await shop.migrate()
            try await shop.migrate(to: 0)
            #expect(try await tables(shop) == ["schema_migrations"])
            try await shop.migrate()
            #expect(try await tables(shop).count == 38)
        }
    }

    @Test("a migration that was changed after it was applied is refused")
    func refusesChangedMigration() async throws {
        try await Shop.withShop { shop in
            var migrations = try Migration.load(from: Shop.migrationsFolder)
            let first = migrations[0]
            migrations[0] = Migration(
                version: first.version,
                name: first.name,
                up: first.up + "\n-- changed",
                down: first.down
            )
            let migrator = try Migrator(migrations)
            let connection = try await shop.connect()
            await #expect(throws: Migrator.Mismatch.self) {
                try await migrator.migrate(on: connection, deadline: .now + Shop.timeout)
            }
            await connection.close()
        }
    }

    @Test("many migrators at once apply each migration once")
    func migratesConcurrently() async throws {
        try await Shop.withShop { shop in
            try await shop.migrate(to: 0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 { group.addTask { try await shop.migrate() } }
                try await group.waitForAll()
            }
            #expect(try await tables(shop).count == 38)
        }
    }

    @Test(
        "the database itself refuses a wrong state",
        arguments: [
            "UPDATE users SET balance = -1",
            "UPDATE products SET stock = -1",
            "UPDATE products SET price = 0",
            "INSERT INTO users (name, email, created_at, updated_at) VALUES ('b', 'A@EXAMPLE.COM', now(), now())",
            "INSERT INTO payments VALUES (gen_random_uuid(), 1, 'REFUNDED', now(), NULL)",
            "INSERT INTO stock_adjustments VALUES (gen_random_uuid(), 99, 1, 'count', 1, now())",
            "INSERT INTO orders VALUES (gen_random_uuid(), 1, 'LOST', 1, 1, now(), now())",
            "INSERT INTO balance_history VALUES (1, 1, gen_random_uuid(), 'PAYMENT', 5, 5, NULL, now())",
            "INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data) "
                + "VALUES (8, gen_random_uuid(), gen_random_uuid(), 1, 'order.paid.v1', now(), '{}')",
            "INSERT INTO job_runs VALUES ('a', now(), now(), now(), 'running', NULL, NULL)",
        ]
    )
    func refusesWrongState(script: String) async throws {
        try await Shop.withShop { shop in
            let connection = try await shop.connect()
            try await connection.execute(
                script: """
                    INSERT INTO users (name, email, created_at, updated_at)
                    VALUES ('a', 'a@example.com', now(), now());
                    INSERT INTO products (name, price, initial_stock, stock, created_at, updated_at)
                    VALUES ('p', 10, 5, 5, now(), now());
                    """,
                deadline: .now + Shop.timeout
            )
            let error = await #expect(throws: PostgresError.self) {
                try await connection.execute(script: script, deadline: .now + Shop.timeout)
            }
            // Class 23: integrity constraint violation.
            #expect(error?.sqlState?.rawValue.hasPrefix("23") == true)
            await connection.close()
        }
    }

    private func tables(_ shop: Shop) async throws -> [String] {
        try await shop.pool.query(
            SQLStatement(
                "tables",
                "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            ),
            deadline: .now + Shop.timeout
        )
        .map { try $0.get("name") }
    }
}
