import Logging
import Postgres
import TestSupport
import Testing

/// A deadline that a working call never reaches.
func soon(_ duration: Duration = .seconds(20)) -> ContinuousClock.Instant { .now + duration }

/// Runs `body` with one connection to a database of its own.
func withConnection<R: Sendable>(_ body: (PostgresConnection) async throws -> R) async throws -> R {
    try await TestDatabase.withDatabase { url in
        let configuration = try PostgresConfiguration(url: url, applicationName: "postgres-tests")
        let connection = try await PostgresConnection.connect(configuration, deadline: soon())
        let value = try await body(connection)
        await connection.close()
        return value
    }
}

/// Runs `body` with a pool on a database of its own.
func withPool<R: Sendable>(
    of maximumConnections: Int,
    maximumWaiters: Int = 1_000,
    _ body: (PostgresPool) async throws -> R
) async throws -> R {
    try await TestDatabase.withDatabase { url in
        try await withPool(on: url, of: maximumConnections, maximumWaiters: maximumWaiters, body)
    }
}

func withPool<R: Sendable>(
    on url: String,
    of maximumConnections: Int,
    maximumWaiters: Int = 1_000,
    _ body: (PostgresPool) async throws -> R
) async throws -> R {
    let pool = PostgresPool(
        configuration: try PostgresConfiguration(url: url, applicationName: "postgres-tests"),
        maximumConnections: maximumConnections,
        maximumWaiters: maximumWaiters,
        logger: Logger(label: "postgres-tests") { _ in SwiftLogNoOpLogHandler() }
    )
    let value = try await body(pool)
    await pool.close()
    return value
}

/// Waits until the condition holds; false when it does not within 10 s.
func eventually(_ condition: () async throws -> Bool) async rethrows -> Bool {
    let deadline = soon(.seconds(10))
    while try await !condition() {
        if deadline < .now { return false }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return true
}

/// The error that the call throws; nil when it throws none, or one of another type.
func postgresError(_ body: () async throws -> Void) async -> PostgresError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? PostgresError
    }
}

extension SQLStatement {
    static let one = SQLStatement("one", "SELECT 1::int4 AS value")
    static let sleep = SQLStatement("sleep", "SELECT pg_sleep($1)::text AS value")
    static let backendID = SQLStatement("backend_id", "SELECT pg_backend_pid() AS value")
    static let terminate = SQLStatement("terminate", "SELECT pg_terminate_backend($1) AS value")
    static let divide = SQLStatement("divide", "SELECT 1 / $1::int4 AS value")
}

/// Expects that the connection can still be used.
func expectWorking(_ connection: PostgresConnection) async throws {
    let rows = try await connection.query(.one, deadline: soon())
    #expect(rows.count == 1)
}

/// Expects that the pool still lends connections that work.
func expectWorking(_ pool: PostgresPool) async throws {
    let rows = try await pool.query(.one, deadline: soon())
    #expect(rows.count == 1)
}
