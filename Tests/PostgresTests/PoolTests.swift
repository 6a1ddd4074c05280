import Postgres
import Synchronization
import TestSupport
import Testing

extension SQLStatement {
    fileprivate static let createTemporary = SQLStatement("create_temporary", "CREATE TEMPORARY TABLE scratch (id int)")
    fileprivate static let sessions = SQLStatement(
        "sessions",
        "SELECT count(*) AS value FROM pg_stat_activity WHERE datname = current_database()"
    )
}

/// How many are inside at once, and how many were at most.
private final class Gauge: Sendable {
    private let state = Mutex((current: 0, peak: 0))

    var peak: Int { state.withLock { $0.peak } }

    func enter() {
        state.withLock { state in
            state.current += 1
            state.peak = max(state.peak, state.current)
        }
    }

    func leave() { state.withLock { $0.current -= 1 } }
}

/// Numbers in the order in which they came.
private final class Order: Sendable {
    private let state = Mutex<[Int]>([])

    var entries: [Int] { state.withLock { $0 } }

    func append(_ entry: Int) { state.withLock { $0.append(entry) } }
}

@Suite("PostgresPool", .timeLimit(.minutes(3)))
struct PoolTests {
    /// Holds the only connection of a pool until told to let go.
    private func occupy(_ pool: PostgresPool) async -> (release: @Sendable () -> Void, done: Task<Void, any Error>) {
        let (held, holding) = AsyncStream<Void>.makeStream()
        let (stop, stopping) = AsyncStream<Void>.makeStream()
        let done = Task {
            try await pool.withConnection(deadline: soon()) { _ in
                holding.finish()
                for await _ in stop {}
            }
        }
        for await _ in held {}
        return ({ stopping.finish() }, done)
    }

    @Test("a hundred tasks share four connections")
    func shared() async throws {
        try await withPool(of: 4) { pool in
            let gauge = Gauge()
            let backends = try await withThrowingTaskGroup(of: Int32.self) { group in
                for _ in 0..<100 {
                    group.addTask {
                        try await pool.withConnection(deadline: soon()) { connection in
                            gauge.enter()
                            defer { gauge.leave() }
                            _ = try await connection.query(.sleep, [.double(0.005)], deadline: soon())
                            return try await connection.query(.backendID, deadline: soon())[0].get("value")
                        }
                    }
                }
                return try await group.reduce(into: Set<Int32>()) { $0.insert($1) }
            }
            #expect((1...4).contains(backends.count))
            #expect((1...4).contains(gauge.peak))
        }
    }

    @Test("waiters are served in the order in which they came")
    func fifo() async throws {
        try await withPool(of: 1) { pool in
            let (release, done) = await occupy(pool)
            let order = Order()
            var tasks: [Task<Void, any Error>] = []
            for index in 0..<10 {
                tasks.append(
                    Task { try await pool.withConnection(deadline: soon()) { _ in order.append(index) } }
                )
                #expect(await eventually { pool.waiterCount == index + 1 })
            }
            release()
            for task in tasks { try await task.value }
            try await done.value
            #expect(order.entries == Array(0..<10))
        }
    }

    @Test("a waiter gives up at its deadline, and when it is cancelled")
    func waiterGivesUp() async throws {
        try await withPool(of: 1) { pool in
            let (release, done) = await occupy(pool)
            let start = ContinuousClock.now
            let late = await postgresError { _ = try await pool.query(.one, deadline: soon(.milliseconds(50))) }
            #expect(late?.code == .timedOut && late?.isRetryable == true)
            let task = Task { try await pool.query(.one, deadline: soon(.seconds(60))) }
            #expect(await eventually { pool.waiterCount == 1 })
            task.cancel()
            #expect(await postgresError { _ = try await task.value }?.code == .cancelled)
            #expect(start.duration(to: .now) < .seconds(5))
            #expect(pool.waiterCount == 0)
            release()
            try await done.value
            try await expectWorking(pool)
        }
    }

    @Test("one waiter too many is refused at once")
    func exhausted() async throws {
        try await withPool(of: 1, maximumWaiters: 1) { pool in
            let (release, done) = await occupy(pool)
            let waiter = Task { try await pool.query(.one, deadline: soon()) }
            #expect(await eventually { pool.waiterCount == 1 })
            let error = await postgresError { _ = try await pool.query(.one, deadline: soon()) }
            #expect(error?.code == .poolExhausted && error?.isRetryable == true)
            release()
            try await done.value
            #expect(try await waiter.value.count == 1)
        }
    }

    @Test("a closed pool refuses, its waiters too, and its sessions end")
    func closed() async throws {
        try await TestDatabase.withDatabase { url in
            try await withPool(on: url, of: 1) { watcher in
                try await withPool(on: url, of: 1) { pool in
                    let (release, done) = await occupy(pool)
                    let waiter = Task { try await pool.query(.one, deadline: soon()) }
                    #expect(await eventually { pool.waiterCount == 1 })
                    await pool.close()
                    #expect(await postgresError { _ = try await waiter.value }?.code == .poolClosed)
                    let error = await postgresError { _ = try await pool.query(.one, deadline: soon()) }
                    #expect(error?.code == .poolClosed)
                    release()
                    try await done.value
                    #expect(
                        try await eventually {
                            try await watcher.query(.sessions, deadline: soon())[0].get("value", as: Int.self) == 1
                        }
                    )
                }
            }
        }
    }

    @Test("a transaction that is left open is rolled back before the connection is used again")
    func leftOpen() async throws {
        try await withPool(of: 1) { pool in
            let first: Int32 = try await pool.withConnection(deadline: soon()) { connection in
                _ = try await connection.pipeline(
                    [PostgresStep(.begin), PostgresStep(.createTemporary)],
                    deadline: soon()
                )
                return try await connection.query(.backendID, deadline: soon())[0].get("value")
            }
            let second: Int32 = try await pool.withConnection(deadline: soon()) { connection in
                _ = try await connection.query(.createTemporary, deadline: soon())
                return try await connection.query(.backendID, deadline: soon())[0].get("value")
            }
            #expect(first == second)
            // A failed one as well, left by a pipeline that failed before its COMMIT.
            let steps = [PostgresStep(.begin), PostgresStep(.divide, [.int32(0)]), PostgresStep(.commit)]
            let error = await postgresError { _ = try await pool.pipeline(steps, deadline: soon()) }
            #expect(error?.sqlState == .divisionByZero)
            try await expectWorking(pool)
        }
    }

    @Test("the pool recovers from sessions that were ended, idle and busy ones")
    func recovers() async throws {
        try await TestDatabase.withDatabase { url in
            try await withPool(on: url, of: 1) { killer in
                try await withPool(on: url, of: 2) { pool in
                    let idle: Int32 = try await pool.query(.backendID, deadline: soon())[0].get("value")
                    _ = try await killer.query(.terminate, [.int32(idle)], deadline: soon())
                    // The pool sees that the server has ended it, so this one does not fail.
                    #expect(try await sessionEnds(idle, killer))
                    try await expectWorking(pool)
                    let error = await postgresError {
                        try await pool.withConnection(deadline: soon()) { connection in
                            let rows = try await connection.query(.backendID, deadline: soon())
                            let busy: Int32 = try rows[0].get("value")
                            _ = try await killer.query(.terminate, [.int32(busy)], deadline: soon())
                            _ = try await connection.query(.sleep, [.double(10)], deadline: soon())
                        }
                    }
                    #expect(error?.code == .connectionLost)
                    try await expectWorking(pool)
                }
            }
        }
    }

    private static let session = SQLStatement("session", "SELECT pid FROM pg_stat_activity WHERE pid = $1")

    private func sessionEnds(_ backend: Int32, _ watcher: PostgresPool) async throws -> Bool {
        try await eventually { try await watcher.query(Self.session, [.int32(backend)], deadline: soon()).isEmpty }
    }

    @Test("a timed-out connection is not used again")
    func discards() async throws {
        try await withPool(of: 1) { pool in
            let error = await postgresError {
                _ = try await pool.query(.sleep, [.double(60)], deadline: soon(.milliseconds(100)))
            }
            #expect(error?.code == .timedOut)
            try await expectWorking(pool)
        }
    }

    @Test("a pool without a server fails each caller, and works once there is one")
    func serverComesBack() async throws {
        try await TestDatabase.withDatabase { url in
            let (host, port) = try TestDatabase.address(of: url)
            let proxy = try FaultProxy(host: host, port: port)
            defer { proxy.stop() }
            proxy.pause()
            try await withPool(on: try TestDatabase.url(url, throughPort: proxy.port), of: 1) { pool in
                let results = await withTaskGroup(of: PostgresError.Code?.self) { group in
                    for _ in 0..<5 {
                        group.addTask {
                            let deadline = soon(.milliseconds(200))
                            return await postgresError { _ = try await pool.query(.one, deadline: deadline) }?.code
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(results == [.timedOut, .timedOut, .timedOut, .timedOut, .timedOut])
                proxy.resume()
                try await expectWorking(pool)
            }
        }
    }
}
