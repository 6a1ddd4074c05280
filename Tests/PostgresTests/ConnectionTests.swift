import Glibc
import Postgres
import TestSupport
import Testing

extension SQLStatement {
    fileprivate static let insertItem = SQLStatement("insert_item", "INSERT INTO items (id, name) VALUES ($1, $2)")
    fileprivate static let countItems = SQLStatement("count_items", "SELECT count(*) AS value FROM items")
    fileprivate static let insertChild = SQLStatement("insert_child", "INSERT INTO children (item_id) VALUES ($1)")
    fileprivate static let preparedNames = SQLStatement(
        "prepared_names",
        "SELECT count(*) AS value FROM pg_prepared_statements WHERE name LIKE 'one%'"
    )
    fileprivate static let unnestItems = SQLStatement(
        "unnest_items",
        "INSERT INTO items (id, name) SELECT * FROM unnest($1::int8[], $2::text[])"
    )
    fileprivate static let length = SQLStatement("length", "SELECT length($1) AS value, repeat($1, 3) AS echo")
    fileprivate static let misspelt = SQLStatement("misspelt", "SELEC 1")
    fileprivate static let absent = SQLStatement("absent", "SELECT id FROM absent WHERE id = $1")
    fileprivate static let laterItem = SQLStatement("later_item", "SELECT id FROM later_items")
    fileprivate static let allItems = SQLStatement("all_items", "SELECT * FROM items")
    fileprivate static let badCast = SQLStatement("bad_cast", "SELECT $1::int4 AS value")
    fileprivate static let notice = SQLStatement("notice", "SELECT notice_me() AS value")
}

private let schema = """
    CREATE TABLE items (id bigint CONSTRAINT items_pkey PRIMARY KEY, name text NOT NULL);
    CREATE TABLE children (
        item_id bigint CONSTRAINT children_item_fkey REFERENCES items DEFERRABLE INITIALLY DEFERRED
    );
    """

@Suite("PostgresConnection", .timeLimit(.minutes(3)))
struct ConnectionTests {
    @Test("the first failing step of a pipeline is named, and the rest is skipped")
    func pipelineError() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            let steps = [
                PostgresStep(.insertItem, [.int64(1), .text("a")]),
                PostgresStep(.divide, [.int32(0)]),
                PostgresStep(.insertItem, [.int64(2), .text("b")]),
                PostgresStep(.divide, [.int32(0)]),
            ]
            for _ in 0..<2 {
                let error = await postgresError { _ = try await connection.pipeline(steps, deadline: soon()) }
                #expect(error?.code == .server && error?.sqlState == .divisionByZero)
                #expect(error?.failedStep == 1 && error?.statement == "divide")
            }
            // Without BEGIN the pipeline is one transaction, so step 0 is undone.
            #expect(try await connection.query(.countItems, deadline: soon())[0].get("value", as: Int.self) == 0)
            let working = [steps[0], steps[2], PostgresStep(.countItems)]
            let results = try await connection.pipeline(working, deadline: soon())
            #expect(results.map(\.affectedRows) == [1, 1, 1])
            #expect(try results[2][0].get("value", as: Int.self) == 2)
            #expect(try await connection.pipeline([], deadline: soon()).isEmpty)
        }
    }

    @Test("a violated constraint is named, and the description shows no data")
    func uniqueViolation() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            let values: [PostgresValue] = [.int64(4_711), .text("secret-name")]
            _ = try await connection.query(.insertItem, values, deadline: soon())
            let error = await postgresError { _ = try await connection.query(.insertItem, values, deadline: soon()) }
            #expect(error?.sqlState == .uniqueViolation && error?.constraint == "items_pkey")
            #expect(error?.table == "items" && error?.isRetryable == false)
            #expect(error?.description.contains("4711") == false)
            #expect(error?.debugDescription.contains("4711") == true)
            let cast = await postgresError {
                _ = try await connection.query(.badCast, [.text("secret-name")], deadline: soon())
            }
            #expect(cast?.sqlState == .invalidTextRepresentation)
            #expect(cast?.description.contains("secret-name") == false)
            #expect(connection.isUsable)
        }
    }

    @Test("a constraint that is checked at the end fails the pipeline, without a step")
    func deferredConstraint() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            let steps = [PostgresStep(.one), PostgresStep(.insertChild, [.int64(9)])]
            let error = await postgresError { _ = try await connection.pipeline(steps, deadline: soon()) }
            #expect(error?.sqlState == .foreignKeyViolation && error?.constraint == "children_item_fkey")
            #expect(connection.isUsable)
            let commit = await postgresError {
                let steps = [PostgresStep(.begin), PostgresStep(.insertChild, [.int64(9)]), PostgresStep(.commit)]
                _ = try await connection.pipeline(steps, deadline: soon())
            }
            #expect(commit?.sqlState == .foreignKeyViolation && commit?.failedStep == 2)
            try await expectWorking(connection)
        }
    }

    @Test("COMMIT of a failed transaction is an error")
    func commitOfFailedTransaction() async throws {
        try await withConnection { connection in
            _ = try await connection.query(.begin, deadline: soon())
            _ = await postgresError { _ = try await connection.query(.divide, [.int32(0)], deadline: soon()) }
            let error = await postgresError { _ = try await connection.query(.commit, deadline: soon()) }
            #expect(error?.code == .transactionAborted && error?.isRetryable == true)
            #expect(connection.isUsable)
        }
    }

    @Test("a statement is prepared once on a connection, and again after its preparation has failed")
    func preparedOnce() async throws {
        try await withConnection { connection in
            for _ in 0..<5 { _ = try await connection.query(.one, deadline: soon()) }
            _ = try await connection.pipeline([PostgresStep(.one), PostgresStep(.one)], deadline: soon())
            let names = try await connection.query(.preparedNames, deadline: soon())
            #expect(try names[0].get("value", as: Int.self) == 1)
            for _ in 0..<2 {
                let error = await postgresError { _ = try await connection.query(.laterItem, deadline: soon()) }
                #expect(error?.sqlState == .undefinedTable)
            }
            try await connection.execute(script: "CREATE TABLE later_items (id int)", deadline: soon())
            #expect(try await connection.query(.laterItem, deadline: soon()).isEmpty)
        }
    }

    @Test("a statement whose preparation was skipped is prepared the next time")
    func skippedPreparation() async throws {
        try await withConnection { connection in
            let steps = [PostgresStep(.divide, [.int32(0)]), PostgresStep(.one)]
            _ = await postgresError { _ = try await connection.pipeline(steps, deadline: soon()) }
            try await expectWorking(connection)
        }
    }

    @Test("a session whose plans no longer fit the schema is retired")
    func stalePlan() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            _ = try await connection.query(.allItems, deadline: soon())
            try await connection.execute(script: "ALTER TABLE items ADD COLUMN extra int", deadline: soon())
            let error = await postgresError { _ = try await connection.query(.allItems, deadline: soon()) }
            #expect(error?.sqlState == .featureNotSupported)
            #expect(!connection.isUsable)
        }
    }

    @Test("prepare checks a statement against the schema and keeps nothing")
    func prepare() async throws {
        try await withConnection { connection in
            try await connection.prepare(.one, deadline: soon())
            let misspelt = await postgresError { try await connection.prepare(.misspelt, deadline: soon()) }
            #expect(misspelt?.sqlState == .syntaxError && misspelt?.statement == "misspelt")
            let absent = await postgresError { try await connection.prepare(.absent, deadline: soon()) }
            #expect(absent?.sqlState == .undefinedTable)
            let names = try await connection.query(.preparedNames, deadline: soon())
            #expect(try names[0].get("value", as: Int.self) == 0)
            #expect(try await connection.query(.one, deadline: soon())[0].get("value", as: Int32.self) == 1)
        }
    }

    @Test("a script runs all its statements, or none when one fails, and notices are dropped")
    func script() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            let script = "INSERT INTO items VALUES (1, 'a'); SELECT 1/0; INSERT INTO items VALUES (2, 'b')"
            let error = await postgresError { try await connection.execute(script: script, deadline: soon()) }
            #expect(error?.sqlState == .divisionByZero)
            #expect(try await connection.query(.countItems, deadline: soon())[0].get("value", as: Int.self) == 0)
            try await connection.execute(script: "", deadline: soon())
            try await connection.execute(
                script: """
                    CREATE FUNCTION notice_me() RETURNS int LANGUAGE plpgsql AS
                    $$ BEGIN RAISE WARNING 'this must not be printed'; RETURN 1; END $$;
                    """,
                deadline: soon()
            )
            #expect(try await connection.query(.notice, deadline: soon()).count == 1)
            let zero = await postgresError { try await connection.execute(script: "SELECT '\0'", deadline: soon()) }
            #expect(zero?.code == .invalidParameter && connection.isUsable)
        }
    }

    @Test("a thousand rows go in with one unnest")
    func unnestInsert() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            let values: [PostgresValue] = [
                .int64Array(Array(1...1_000)), .textArray((1...1_000).map { "item \($0)" }),
            ]
            #expect(try await connection.query(.unnestItems, values, deadline: soon()).affectedRows == 1_000)
            let rows = try await connection.query(.allItems, deadline: soon())
            #expect(rows.count == 1_000 && rows.affectedRows == 1_000)
            #expect(try rows.last?.get("name") == "item 1000")
        }
    }

    @Test("a pipeline of 20 MB with answers of 60 MB does not block")
    func largePipeline() async throws {
        try await withConnection { connection in
            // More than the kernel buffers: a client that wrote everything before it read would wait for ever.
            let text = String(repeating: "x", count: 100_000)
            let steps = [PostgresStep](repeating: PostgresStep(.length, [.text(text)]), count: 200)
            let results = try await connection.pipeline(steps, deadline: soon())
            #expect(results.count == 200)
            #expect(try results.allSatisfy { try $0[0].get("value", as: Int.self) == 100_000 })
            let echo = String(repeating: "x", count: 300_000)
            #expect(try results.allSatisfy { try $0[0].get("echo", as: String.self) == echo })
        }
    }

    @Test("too many steps and too many parameters are refused")
    func limits() async throws {
        try await withConnection { connection in
            let steps = [PostgresStep](repeating: PostgresStep(.one), count: PostgresConnection.maximumSteps + 1)
            let error = await postgresError { _ = try await connection.pipeline(steps, deadline: soon()) }
            #expect(error?.code == .invalidParameter)
            let values = [PostgresValue](repeating: .null, count: 65_536)
            let many = await postgresError { _ = try await connection.query(.one, values, deadline: soon()) }
            #expect(many?.code == .invalidParameter && connection.isUsable)
        }
    }

    @Test("results outlive their connection")
    func resultsOutlive() async throws {
        let rows = try await withConnection { try await $0.query(.one, deadline: soon()) }
        #expect(try rows[0].get("value", as: Int.self) == 1)
    }
}

@Suite("PostgresConnection in trouble", .timeLimit(.minutes(3)))
struct TroubleTests {
    /// How much later than its deadline a call may end on a busy machine.
    private let tolerance = Duration.seconds(2)

    @Test("a deadline ends the call, closes the connection, and stops the query on the server")
    func deadline() async throws {
        try await TestDatabase.withDatabase { url in
            try await withPool(on: url, of: 1) { watcher in
                let configuration = try PostgresConfiguration(url: url, applicationName: "sleeper")
                let connection = try await PostgresConnection.connect(configuration, deadline: soon())
                let start = ContinuousClock.now
                let error = await postgresError {
                    _ = try await connection.query(.sleep, [.double(60)], deadline: soon(.milliseconds(200)))
                }
                #expect(error?.code == .timedOut && error?.isRetryable == false)
                #expect(start.duration(to: .now) < .milliseconds(200) + tolerance)
                #expect(!connection.isUsable)
                let after = await postgresError { _ = try await connection.query(.one, deadline: soon()) }
                #expect(after?.code == .connectionLost)
                #expect(try await sleepers(watcher, become: 0))
            }
        }
    }

    @Test("a cancelled task ends the call at once and stops the query on the server")
    func cancellation() async throws {
        try await TestDatabase.withDatabase { url in
            try await withPool(on: url, of: 1) { watcher in
                let configuration = try PostgresConfiguration(url: url, applicationName: "sleeper")
                let connection = try await PostgresConnection.connect(configuration, deadline: soon())
                let task = Task { try await connection.query(.sleep, [.double(60)], deadline: soon(.seconds(60))) }
                #expect(try await sleepers(watcher, become: 1))
                let start = ContinuousClock.now
                task.cancel()
                let error = await postgresError { _ = try await task.value }
                #expect(error?.code == .cancelled)
                #expect(start.duration(to: .now) < tolerance)
                #expect(!connection.isUsable)
                #expect(try await sleepers(watcher, become: 0))
            }
        }
    }

    private static let activeSleepers = SQLStatement(
        "active_sleepers",
        """
        SELECT count(*) AS value FROM pg_stat_activity
        WHERE application_name = 'sleeper' AND state = 'active' AND datname = current_database()
        """
    )

    private func sleepers(_ watcher: PostgresPool, become count: Int) async throws -> Bool {
        try await eventually {
            try await watcher.query(Self.activeSleepers, deadline: soon())[0].get("value", as: Int.self) == count
        }
    }

    @Test("a call that is late or cancelled already leaves the connection alone")
    func nothingSent() async throws {
        try await withConnection { connection in
            let late = await postgresError { _ = try await connection.query(.one, deadline: .now - .seconds(1)) }
            #expect(late?.code == .timedOut && late?.isRetryable == true)
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                return try await connection.query(.one, deadline: soon())
            }
            task.cancel()
            #expect(await postgresError { _ = try await task.value }?.code == .cancelled)
            try await expectWorking(connection)
        }
    }

    @Test("a stopped server hangs nothing: neither a query, nor its cancellation, nor a new connection")
    func stoppedServer() async throws {
        try await TestDatabase.withDatabase { url in
            let (host, port) = try TestDatabase.address(of: url)
            let proxy = try FaultProxy(host: host, port: port)
            defer { proxy.stop() }
            let proxied = try TestDatabase.url(url, throughPort: proxy.port)
            let configuration = try PostgresConfiguration(url: proxied, applicationName: "postgres-tests")
            let connection = try await PostgresConnection.connect(configuration, deadline: soon())
            proxy.pause()
            let start = ContinuousClock.now
            let error = await postgresError {
                _ = try await connection.query(.one, deadline: soon(.milliseconds(200)))
            }
            #expect(error?.code == .timedOut)
            let connecting = await postgresError {
                _ = try await PostgresConnection.connect(configuration, deadline: soon(.milliseconds(200)))
            }
            #expect(connecting?.code == .timedOut)
            var impatient = configuration
            impatient.connectTimeout = .milliseconds(100)
            let timeout = await postgresError {
                _ = try await PostgresConnection.connect(impatient, deadline: soon())
            }
            #expect(timeout?.code == .timedOut)
            #expect(start.duration(to: .now) < .milliseconds(500) + tolerance)
            let task = Task { try await PostgresConnection.connect(configuration, deadline: soon()) }
            task.cancel()
            #expect(await postgresError { _ = try await task.value }?.code == .cancelled)
        }
    }

    @Test("a backend stopped by SIGSTOP hangs nothing, and a script neither")
    func stoppedBackend() async throws {
        try await withConnection { connection in
            let backend = try await connection.query(.backendID, deadline: soon())[0].get("value", as: Int32.self)
            #expect(kill(backend, SIGSTOP) == 0, "the server must run on this machine")
            defer { kill(backend, SIGCONT) }
            let start = ContinuousClock.now
            let error = await postgresError {
                try await connection.execute(script: "SELECT 1", deadline: soon(.milliseconds(200)))
            }
            #expect(error?.code == .timedOut && !connection.isUsable)
            #expect(start.duration(to: .now) < .milliseconds(200) + tolerance)
        }
    }

    @Test("the end of a session is connectionLost with the server's reason")
    func terminated() async throws {
        try await TestDatabase.withDatabase { url in
            try await withPool(on: url, of: 1) { killer in
                let configuration = try PostgresConfiguration(url: url, applicationName: "postgres-tests")
                let connection = try await PostgresConnection.connect(configuration, deadline: soon())
                let backend = try await connection.query(.backendID, deadline: soon())[0].get("value", as: Int32.self)
                _ = try await killer.query(.terminate, [.int32(backend)], deadline: soon())
                let error = await postgresError {
                    _ = try await connection.query(.sleep, [.double(5)], deadline: soon())
                }
                #expect(error?.code == .connectionLost && error?.isRetryable == false)
                #expect(!connection.isUsable)
            }
        }
    }

    @Test("a connection that is cut inside a transaction is lost, and the work may be done again")
    func cutInTransaction() async throws {
        try await TestDatabase.withDatabase { url in
            let (host, port) = try TestDatabase.address(of: url)
            let proxy = try FaultProxy(host: host, port: port)
            defer { proxy.stop() }
            let proxied = try TestDatabase.url(url, throughPort: proxy.port)
            let configuration = try PostgresConfiguration(url: proxied, applicationName: "postgres-tests")
            let connection = try await PostgresConnection.connect(configuration, deadline: soon())
            _ = try await connection.query(.begin, deadline: soon())
            proxy.cutNext(Array("divide".utf8), .toServer, .beforeForwarding)
            let error = await postgresError { _ = try await connection.query(.divide, [.int32(1)], deadline: soon()) }
            #expect(error?.code == .connectionLost && error?.isRetryable == true)
            let other = try await PostgresConnection.connect(configuration, deadline: soon())
            proxy.cutNext(Array("divide".utf8), .toServer, .beforeForwarding)
            let alone = await postgresError { _ = try await other.query(.divide, [.int32(1)], deadline: soon()) }
            #expect(alone?.code == .connectionLost && alone?.isRetryable == false)
        }
    }

    @Test("no server, a wrong database and a wrong URL each say so, without the password")
    func cannotConnect() async throws {
        let nobody = try PostgresConfiguration(url: "postgres://u:hunter2@127.0.0.1:1/d", applicationName: "tests")
        let refused = await postgresError { _ = try await PostgresConnection.connect(nobody, deadline: soon()) }
        #expect(refused?.code == .connectFailed && refused?.isRetryable == true)
        #expect(refused?.debugDescription.contains("hunter2") == false)
        try await TestDatabase.withDatabase { url in
            let absent = try PostgresConfiguration(url: url + "_absent", applicationName: "tests")
            let error = await postgresError { _ = try await PostgresConnection.connect(absent, deadline: soon()) }
            #expect(error?.code == .connectFailed)
            #expect(error?.message.contains("does not exist") == true)
        }
    }
}
