import FoundationEssentials
import Logging
import OrderStore
package import Postgres

/// A database with Jumun's schema on it.
package struct Shop: Sendable {
    /// How long a test waits for the database at most.
    package static let timeout = Duration.seconds(30)

    package let url: String
    package let pool: PostgresPool

    /// Where the migrations are, seen from this file.
    package static let migrationsFolder =
        #filePath.split(separator: "/").dropLast(3)
        .reduce("") { "\($0)/\($1)" } + "/sql/migrations"

    /// Runs `body` with a migrated database of its own, and drops it afterwards.
    package static func withShop<R: Sendable>(_ body: (Shop) async throws -> R) async throws -> R {
        try await TestDatabase.withDatabase { url in
            let configuration = try PostgresConfiguration(url: url, applicationName: "jumun-tests")
            let pool = PostgresPool(
                configuration: configuration,
                maximumConnections: 8,
                logger: Logger(label: "tests")
            )
            let shop = Shop(url: url, pool: pool)
            try await shop.migrate()
            let value = try await body(shop)
            await pool.close()
            return value
        }
    }

    /// Brings the schema to a version; nil for the newest.
    package func migrate(to version: Int? = nil) async throws {
        let migrator = try Migrator(Migration.load(from: Shop.migrationsFolder))
        let deadline = ContinuousClock.now + Shop.timeout
        try await pool.withConnection(deadline: deadline) { connection in
            try await migrator.migrate(to: version, on: connection, deadline: deadline)
        }
    }

    /// A connection of its own.
    package func connect() async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            PostgresConfiguration(url: url, applicationName: "jumun-tests"),
            deadline: .now + Shop.timeout
        )
    }
}
