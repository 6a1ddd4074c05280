package import FoundationEssentials
package import Postgres

/// What the database says of its own state, for an operator; reads only.
package enum DatabaseHealth {
    /// A session that keeps old row versions from being removed, or that waits in the middle of a transaction.
    package struct Session: Hashable, Sendable {
        package let pid: Int32
        package let user: String
        package let application: String
        package let state: String
        /// Since its transaction began.
        package let seconds: Double
        /// Whether it does nothing at the moment.
        package let isIdle: Bool
    }

    /// The server's clock, and whether what it acknowledges is durable.
    package struct Server: Hashable, Sendable {
        package let version: String
        package let now: Date
        /// Settings that must be on: `fsync`, `full_page_writes`, `synchronous_commit`.
        package let durability: [String: String]
    }

    /// What holds back the removal of old row versions, beside sessions.
    package struct Horizon: Hashable, Sendable {
        /// Transactions prepared and not committed.
        package let preparedTransactions: Int64
        /// Seconds since the oldest of them was prepared; nil when there is none.
        package let oldestPreparedSeconds: Double?
        /// Replication slots that nobody reads from.
        package let inactiveSlots: Int64
    }

    /// The first half of the advisory locks that relays hold, a lock a shard.
    private static let relayLockClass: Int32 = 7_001

    /// The server; throws `PostgresError`.
    package static func server(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Server {
        let settings = try await connection.query(Statements.settings, deadline: deadline)
        // Last, so that its time is near that of its arrival.
        let rows = try await connection.query(Statements.server, deadline: deadline)
        let row = rows[rows.startIndex]
        return Server(
            version: try row.get("version"),
            now: try row.get("now"),
            durability: try Dictionary(
                settings.map { (try $0.get("name", as: String.self), try $0.get("setting", as: String.self)) }
            ) { first, _ in first }
        )
    }

    /// The oldest transactions of other sessions in this database, ten at most; nil when this role may not see them.
    /// Throws `PostgresError`.
    package static func oldestTransactions(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [Session]? {
        let rights = try await connection.query(Statements.mayReadStatistics, deadline: deadline)
        guard try rights[rights.startIndex].get("may_read") else { return nil }
        return try await connection.query(Statements.sessions, deadline: deadline).map { row in
            Session(
                pid: try row.get("pid"),
                user: try row.get("usename"),
                application: try row.get("application_name"),
                state: try row.get("state"),
                seconds: try row.get("seconds"),
                isIdle: try row.get("is_idle")
            )
        }
    }

    /// What else holds back the removal of old row versions; throws `PostgresError`.
    package static func horizon(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Horizon {
        let rows = try await connection.query(Statements.horizon, deadline: deadline)
        let row = rows[rows.startIndex]
        return Horizon(
            preparedTransactions: try row.get("prepared"),
            oldestPreparedSeconds: try row.get("oldest_seconds"),
            inactiveSlots: try row.get("inactive_slots")
        )
    }

    /// How many shards of the outbox have a relay now; throws `PostgresError`.
    package static func relayedShards(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int64 {
        let rows = try await connection.query(
            Statements.relayedShards,
            [.int32(relayLockClass)],
            deadline: deadline
        )
        return try rows[rows.startIndex].get("shards")
    }

    /// The newest migration that was applied; 0 for none. Throws `PostgresError`.
    package static func schemaVersion(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Int {
        let table = try await connection.query(Statements.hasMigrations, deadline: deadline)
        guard try table[table.startIndex].get("is_there") else { return 0 }
        let rows = try await connection.query(Statements.schemaVersion, deadline: deadline)
        return Int(try rows[rows.startIndex].get("version", as: Int32.self))
    }
}

extension DatabaseHealth {
    enum Statements {
        static let all = [
            server, settings, mayReadStatistics, sessions, horizon, relayedShards, hasMigrations, schemaVersion,
        ]

        static let server = SQLStatement(
            "health_server",
            """
            SELECT current_setting('server_version') AS version, clock_timestamp() AS now
            """
        )

        static let settings = SQLStatement(
            "health_settings",
            """
            SELECT name, setting
            FROM pg_settings
            WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
            """
        )

        static let mayReadStatistics = SQLStatement(
            "health_may_read_statistics",
            """
            SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS may_read
            """
        )

        static let sessions = SQLStatement(
            "health_sessions",
            """
            SELECT pid, coalesce(usename::text, '') AS usename, application_name, coalesce(state, '') AS state,
                extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds,
                coalesce(state LIKE 'idle%', false) AS is_idle
            FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                AND xact_start IS NOT NULL
            ORDER BY xact_start
            LIMIT 10
            """
        )

        static let horizon = SQLStatement(
            "health_horizon",
            """
            SELECT count(*) AS prepared,
                extract(epoch FROM clock_timestamp() - min(prepared))::float8 AS oldest_seconds,
                (SELECT count(*) FROM pg_replication_slots WHERE NOT active) AS inactive_slots
            FROM pg_prepared_xacts
            WHERE database = current_database()
            """
        )

        static let relayedShards = SQLStatement(
            "health_relayed_shards",
            """
            SELECT count(DISTINCT objid) AS shards
            FROM pg_locks
            WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objsubid = 2
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND classid = $1::integer::oid AND objid BETWEEN 0 AND 7
            """
        )

        static let hasMigrations = SQLStatement(
            "health_has_migrations",
            """
            SELECT to_regclass('schema_migrations') IS NOT NULL AS is_there
            """
        )

        static let schemaVersion = SQLStatement(
            "health_schema_version",
            """
            SELECT coalesce(max(version), 0) AS version
            FROM schema_migrations
            """
        )
    }
}
