package import Postgres

/// One step of the schema, forward and back.
package struct Migration: Hashable, Sendable {
    package let version: Int
    package let name: String
    package let up: String
    package let down: String

    /// Makes a migration from the text of its two files.
    package init(version: Int, name: String, up: String, down: String) {
        self.version = version
        self.name = name
        self.up = up
        self.down = down
    }
}

/// Brings the schema to a version: each migration in a transaction of its own, one migrator at a time.
package struct Migrator: Sendable {
    /// The schema is not what the migrations say; nothing was changed.
    package struct Mismatch: Error, CustomStringConvertible {
        package let description: String
    }

    /// What was done.
    package enum Change: Hashable, Sendable {
        case applied(Migration)
        case reverted(Migration)
    }

    /// Migrators wait for each other on this advisory lock.
    private static let lockKey: Int64 = 7_000

    private let migrations: [Migration]

    /// Makes a migrator.
    ///
    /// - Parameter migrations: all of them; versions must run from 1 without a gap.
    /// - Throws: ``Mismatch`` when they do not.
    package init(_ migrations: [Migration]) throws {
        let sorted = migrations.sorted { $0.version < $1.version }
        guard !sorted.isEmpty, sorted.map(\.version) == Array(1...sorted.count) else {
            throw Mismatch(description: "migrations must be numbered from 0001 without a gap")
        }
        self.migrations = sorted
    }

    /// Applies what is missing, or reverts what is beyond `target`; does nothing when the schema is there already.
    ///
    /// - Parameters:
    ///   - target: the version to reach; nil for the newest, 0 for an empty schema.
    ///   - connection: a connection of the schema's owner.
    ///   - deadline: for the whole of it, waiting for another migrator included.
    ///   - report: called after each step.
    /// - Throws: ``Mismatch`` when an applied migration differs from its file or is unknown, `PostgresError` when one
    ///   fails; those before it stay applied.
    package func migrate(
        to target: Int? = nil,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant,
        report: (Change) -> Void = { _ in }
    ) async throws {
        let target = target ?? migrations.count
        guard (0...migrations.count).contains(target) else {
            throw Mismatch(description: "there is no migration \(target): versions go from 0 to \(migrations.count)")
        }
        _ = try await connection.query(Statements.lock, [.int64(Migrator.lockKey)], deadline: deadline)
        _ = try await connection.query(Statements.createTable, deadline: deadline)
        let applied = try await appliedCount(on: connection, deadline: deadline)
        if target >= applied {
            for migration in migrations[applied..<target] {
                try await apply(migration, on: connection, deadline: deadline)
                report(.applied(migration))
            }
        } else {
            for migration in migrations[target..<applied].reversed() {
                try await revert(migration, on: connection, deadline: deadline)
                report(.reverted(migration))
            }
        }
        _ = try await connection.query(Statements.unlock, [.int64(Migrator.lockKey)], deadline: deadline)
    }

    /// How many migrations are applied, after each has been compared with its file.
    private func appliedCount(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int {
        let rows = try await connection.query(
            Statements.compare,
            [.int64Array(migrations.map { Int64($0.version) }), .textArray(migrations.map(\.up))],
            deadline: deadline
        )
        for row in rows {
            let version = try row.get("version", as: Int32.self)
            if try !row.get("is_known", as: Bool.self) {
                throw Mismatch(description: "the schema has migration \(version), which is newer than this program")
            }
            if try !row.get("is_unchanged", as: Bool.self) {
                throw Mismatch(
                    description: "migration \(version) was changed after it was applied; "
                        + "restore its file and add a new migration instead"
                )
            }
        }
        return rows.count
    }

    private func apply(
        _ migration: Migration,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        try await inTransaction(on: connection, deadline: deadline) {
            try await connection.execute(script: migration.up, deadline: deadline)
            _ = try await connection.query(
                Statements.record,
                [.int32(Int32(clamping: migration.version)), .text(migration.name), .text(migration.up)],
                deadline: deadline
            )
        }
    }

    private func revert(
        _ migration: Migration,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        try await inTransaction(on: connection, deadline: deadline) {
            try await connection.execute(script: migration.down, deadline: deadline)
            _ = try await connection.query(
                Statements.erase,
                [.int32(Int32(clamping: migration.version))],
                deadline: deadline
            )
        }
    }

    private func inTransaction(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant,
        _ body: () async throws -> Void
    ) async throws {
        _ = try await connection.query(.begin, deadline: deadline)
        do {
            try await body()
        } catch {
            _ = try? await connection.query(.rollback, deadline: deadline)
            throw error
        }
        _ = try await connection.query(.commit, deadline: deadline)
    }
}

extension Migrator {
    enum Statements {
        static let lock = SQLStatement("migration_lock", "SELECT pg_advisory_lock($1)")
        static let unlock = SQLStatement("migration_unlock", "SELECT pg_advisory_unlock($1)")

        static let createTable = SQLStatement(
            "migration_create_table",
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                version    integer PRIMARY KEY CHECK (version >= 1),
                name       text        NOT NULL,
                -- SHA-256 of the .up.sql file.
                checksum   bytea       NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )

        static let compare = SQLStatement(
            "migration_compare",
            """
            SELECT applied.version, known.version IS NOT NULL AS is_known,
                coalesce(applied.checksum = sha256(convert_to(known.text, 'UTF8')), false) AS is_unchanged
            FROM schema_migrations applied
            LEFT JOIN unnest($1::bigint[], $2::text[]) AS known (version, text) ON known.version = applied.version
            ORDER BY applied.version
            """
        )

        static let record = SQLStatement(
            "migration_record",
            """
            INSERT INTO schema_migrations (version, name, checksum)
            VALUES ($1, $2, sha256(convert_to($3, 'UTF8')))
            """
        )

        static let erase = SQLStatement(
            "migration_erase",
            """
            DELETE FROM schema_migrations
            WHERE version = $1
            """
        )
    }
}
