import Postgres
import TestSupport
import Testing

extension SQLStatement {
    fileprivate static let insert = SQLStatement("insert_mark", "INSERT INTO marks (id) VALUES ($1)")
    fileprivate static let exists = SQLStatement("mark_exists", "SELECT count(*) AS value FROM marks WHERE id = $1")
    fileprivate static let isolation = SQLStatement(
        "isolation",
        "SELECT current_setting('transaction_isolation') || current_setting('transaction_read_only') AS value"
    )
}

private let schema = """
    CREATE TABLE marks (id bigint PRIMARY KEY, other bigint REFERENCES marks DEFERRABLE INITIALLY DEFERRED)
    """

@Suite("Transactions", .timeLimit(.minutes(3)), .serialized)
struct TransactionTests {
    private struct Refusal: Error {}

    private func create(_ pool: PostgresPool) async throws {
        try await pool.withConnection(deadline: soon()) { try await $0.execute(script: schema, deadline: soon()) }
    }

    private func exists(_ id: Int64, _ pool: PostgresPool) async throws -> Bool {
        try await pool.query(.exists, [.int64(id)], deadline: soon())[0].get("value", as: Int.self) == 1
    }

    @Test("the body's value comes back after COMMIT, the body's error after ROLLBACK")
    func commitAndRollback() async throws {
        try await withPool(of: 1) { pool in
            try await create(pool)
            let value = try await pool.transaction(deadline: soon()) { connection in
                _ = try await connection.query(.insert, [.int64(1)], deadline: soon())
                return "value"
            }
            #expect(value == "value")
            #expect(try await exists(1, pool))
            await #expect(throws: Refusal.self) {
                try await pool.transaction(deadline: soon()) { connection in
                    _ = try await connection.query(.insert, [.int64(2)], deadline: soon())
                    throw Refusal()
                }
            }
            #expect(try await !exists(2, pool))
        }
    }

    @Test("a body that hides its failure does not make a success")
    func hiddenFailure() async throws {
        try await withPool(of: 1) { pool in
            let error = await postgresError {
                try await pool.transaction(deadline: soon()) { connection in
                    _ = try? await connection.query(.divide, [.int32(0)], deadline: soon())
                }
            }
            #expect(error?.code == .transactionAborted && error?.isRetryable == true)
            try await expectWorking(pool)
        }
    }

    @Test("a constraint that COMMIT checks fails the transaction")
    func deferredConstraint() async throws {
        try await withPool(of: 1) { pool in
            try await create(pool)
            let error = await postgresError {
                try await pool.transaction(deadline: soon()) { connection in
                    try await connection.execute(script: "INSERT INTO marks VALUES (1, 99)", deadline: soon())
                }
            }
            #expect(error?.code == .server && error?.sqlState == .foreignKeyViolation)
            #expect(try await !exists(1, pool))
        }
    }

    @Test("a cancelled transaction is rolled back, and its connection is used again")
    func cancelled() async throws {
        try await withPool(of: 1) { pool in
            try await create(pool)
            let task = Task {
                try await pool.transaction(deadline: soon()) { connection in
                    _ = try await connection.query(.insert, [.int64(1)], deadline: soon())
                    while !Task.isCancelled { await Task.yield() }
                }
            }
            task.cancel()
            #expect(await postgresError { try await task.value }?.code == .cancelled)
            #expect(try await !exists(1, pool))
        }
    }

    @Test("a read-only snapshot is one")
    func readOnlySnapshot() async throws {
        try await withConnection { connection in
            let steps = [PostgresStep(.beginReadOnlySnapshot), PostgresStep(.isolation), PostgresStep(.rollback)]
            let results = try await connection.pipeline(steps, deadline: soon())
            #expect(try results[1][0].get("value", as: String.self) == "repeatable readon")
        }
    }

    @Test("the status of a transaction is what became of it")
    func status() async throws {
        try await withPool(of: 3) { pool in
            func name(_ connection: PostgresConnection) async throws -> String {
                try await connection.query(.currentTransaction, deadline: soon())[0].get("xid")
            }
            let committed = try await pool.transaction(deadline: soon()) { connection in
                let xid = try await name(connection)
                #expect(try await pool.status(ofTransaction: xid, deadline: soon()) == .inProgress)
                return xid
            }
            #expect(try await pool.status(ofTransaction: committed, deadline: soon()) == .committed)
            let plain = String(committed.prefix { $0 != "@" })
            #expect(try await pool.status(ofTransaction: plain, deadline: soon()) == .committed)
            let aborted: String = try await pool.withConnection(deadline: soon()) { connection in
                _ = try await connection.query(.begin, deadline: soon())
                return try await name(connection)
            }
            #expect(try await pool.status(ofTransaction: aborted, deadline: soon()) == .aborted)
            #expect(try await pool.status(ofTransaction: "9000000000@", deadline: soon()) == .aborted)
            #expect(try await pool.status(ofTransaction: "3", deadline: soon()) == .tooOld)
            // After a crash the id may belong to another transaction, so "committed" proves nothing.
            #expect(try await pool.status(ofTransaction: "\(plain)@1.5", deadline: soon()) == .tooOld)
            let plainAborted = String(aborted.prefix { $0 != "@" })
            #expect(try await pool.status(ofTransaction: "\(plainAborted)@1.5", deadline: soon()) == .aborted)
        }
    }

    /// The places where the way of a COMMIT can be cut.
    private static let cuts: [(marker: String, direction: FaultProxy.Direction, cut: FaultProxy.Cut)] = [
        // The request is lost: aborted.
        ("commit\0", .toServer, .beforeForwarding),
        // The answer is lost: committed.
        ("COMMIT\0", .toClient, .beforeForwarding),
        // The connection ends while the server works: either.
        ("commit\0", .toServer, .afterForwarding),
    ]

    @Test("when COMMIT is cut, success is reported exactly when the row is there")
    func lostCommit() async throws {
        try await TestDatabase.withDatabase { url in
            let (host, port) = try TestDatabase.address(of: url)
            let proxy = try FaultProxy(host: host, port: port)
            defer { proxy.stop() }
            try await withPool(on: try TestDatabase.url(url, throughPort: proxy.port), of: 1) { pool in
                try await create(pool)
                var (successes, aborts) = (0, 0)
                for round in 0..<51 {
                    let (marker, direction, cut) = Self.cuts[round % Self.cuts.count]
                    let id = Int64(round)
                    let error = await postgresError {
                        try await pool.transaction(deadline: soon()) { connection in
                            _ = try await connection.query(.insert, [.int64(id)], deadline: soon())
                            proxy.cutNext(Array(marker.utf8), direction, cut)
                        }
                    }
                    #expect(proxy.cuts == round + 1)
                    #expect(try await exists(id, pool) == (error == nil))
                    if let error {
                        #expect(error.code == .transactionAborted && error.isRetryable)
                        aborts += 1
                    } else {
                        successes += 1
                    }
                }
                #expect(successes >= 17 && aborts >= 17)
            }
        }
    }

    @Test("when nobody can say what became of COMMIT before the deadline, that is what is said")
    func unknownOutcome() async throws {
        try await TestDatabase.withDatabase { url in
            let (host, port) = try TestDatabase.address(of: url)
            let proxy = try FaultProxy(host: host, port: port)
            defer { proxy.stop() }
            try await withPool(on: try TestDatabase.url(url, throughPort: proxy.port), of: 1) { pool in
                let error = await postgresError {
                    try await pool.transaction(deadline: soon(.milliseconds(500))) { _ in proxy.pause() }
                }
                #expect(error?.code == .commitOutcomeUnknown && error?.isRetryable == false)
                proxy.resume()
                try await expectWorking(pool)
            }
        }
    }

    @Test("a transaction whose connection is lost before COMMIT can be done again")
    func lostInside() async throws {
        try await TestDatabase.withDatabase { url in
            try await withPool(on: url, of: 1) { killer in
                try await withPool(on: url, of: 1) { pool in
                    let error = await postgresError {
                        try await pool.transaction(deadline: soon()) { connection in
                            let rows = try await connection.query(.backendID, deadline: soon())
                            _ = try await killer.query(.terminate, [.int32(try rows[0].get("value"))], deadline: soon())
                            _ = try await connection.query(.sleep, [.double(10)], deadline: soon())
                        }
                    }
                    #expect(error?.code == .connectionLost && error?.isRetryable == true)
                    try await expectWorking(pool)
                }
            }
        }
    }
}
