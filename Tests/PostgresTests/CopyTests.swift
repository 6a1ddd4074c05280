import Foundation
import Postgres
import TestSupport
import Testing

extension SQLStatement {
    fileprivate static let copyThings = SQLStatement(
        "copy_things",
        "COPY things (id, name, flag, number, at, code) FROM STDIN (FORMAT binary)"
    )
    fileprivate static let copyNames = SQLStatement("copy_names", "COPY things (id, name) FROM STDIN (FORMAT binary)")
    fileprivate static let readThings = SQLStatement(
        "read_things",
        "SELECT id, name, flag, number, at, code FROM things ORDER BY id"
    )
    fileprivate static let countThings = SQLStatement("count_things", "SELECT count(*) AS value FROM things")
}

private let schema = """
    CREATE TABLE things (
        id bigint CONSTRAINT things_pkey PRIMARY KEY, name text, flag boolean, number integer, at timestamptz, code uuid
    );
    """

@Suite("COPY", .timeLimit(.minutes(3)))
struct CopyTests {
    private func count(_ connection: PostgresConnection) async throws -> Int64 {
        try await connection.query(.countThings, deadline: soon())[0].get("value")
    }

    private func names(_ ids: Range<Int64>, _ name: String = "a") throws -> PostgresCopyRows {
        var rows = PostgresCopyRows()
        for id in ids { try rows.append([.int64(id), .text(name)]) }
        return rows
    }

    @Test("rows of every kind arrive as they were appended, NULL and the empty text apart")
    func roundTrip() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            let time = Date(timeIntervalSince1970: 1_767_225_600.25)
            let code = UUID()
            let name = "a,\"b\"\n\t\\N \u{1F375} 한국"
            var rows = PostgresCopyRows()
            try rows.append([.int64(1), .text(name), .bool(true), .int32(-7), .timestamp(time), .uuid(code)])
            try rows.append([.int64(2), .text(""), .null, .null, .null, .null])
            try rows.append([.int64(3), .null, .bool(false), .int32(.max), .null, .null])
            #expect(rows.count == 3)
            #expect(try await connection.copy(.copyThings, rows, deadline: soon()) == 3)
            let read = try await connection.query(.readThings, deadline: soon())
            #expect(try read.map { try $0.get("name", as: String?.self) } == [name, "", nil])
            #expect(try read.map { try $0.get("flag", as: Bool?.self) } == [true, nil, false])
            #expect(try read.map { try $0.get("number", as: Int32?.self) } == [-7, nil, .max])
            #expect(try read[0].get("at", as: Date?.self) == time)
            #expect(try read[0].get("code", as: UUID?.self) == code)
            #expect(try await connection.copy(.copyThings, PostgresCopyRows(), deadline: soon()) == 0)
        }
    }

    @Test("many megabytes go through, inside of a transaction and with pipelines around them")
    func large() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            let rows = try names(0..<20_000, String(repeating: "x", count: 1_000))
            _ = try await connection.query(.begin, deadline: soon())
            #expect(try await connection.copy(.copyNames, rows, deadline: soon()) == 20_000)
            #expect(try await count(connection) == 20_000)
            _ = try await connection.query(.rollback, deadline: soon())
            #expect(try await count(connection) == 0)
        }
    }

    @Test("the server's refusal names the statement and keeps nothing, and the connection goes on")
    func refusals() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema, deadline: soon())
            var twice = try names(0..<10_000, String(repeating: "x", count: 500))
            try twice.append([.int64(5), .text("again")])
            let error = await postgresError {
                _ = try await connection.copy(.copyNames, twice, deadline: soon())
            }
            #expect((error?.code, error?.sqlState) == (.server, .uniqueViolation))
            #expect((error?.statement, error?.constraint) == ("copy_names", "things_pkey"))
            #expect(try await count(connection) == 0)

            // A value of another length than the column's type has.
            var mistyped = PostgresCopyRows()
            try mistyped.append([.int32(1), .text("a")])
            let type = await postgresError { _ = try await connection.copy(.copyNames, mistyped, deadline: soon()) }
            #expect(type?.code == .server)
            let absent = SQLStatement("copy_absent", "COPY absent FROM STDIN (FORMAT binary)")
            let table = await postgresError { _ = try await connection.copy(absent, twice, deadline: soon()) }
            #expect(table?.sqlState == .undefinedTable)
            try await expectWorking(connection)
            #expect(try await connection.copy(.copyNames, try names(0..<3), deadline: soon()) == 3)
        }
    }

    @Test("a statement that is no COPY is refused")
    func noCopy() async throws {
        try await withConnection { connection in
            let error = await postgresError { _ = try await connection.copy(.one, try names(0..<1), deadline: soon()) }
            #expect(error?.code == .invalidParameter)
        }
    }

    @Test("more than the named maximum, and a zero byte, are refused before anything is sent")
    func bounds() throws {
        var rows = PostgresCopyRows()
        let error = #expect(throws: PostgresError.self) {
            for id in 0..<100 { try rows.append([.int64(Int64(id)), .text(String(repeating: "x", count: 1 << 20))]) }
        }
        #expect(error?.code == .invalidParameter)
        #expect((60...63).contains(rows.count))
        #expect(throws: PostgresError.self) { try rows.append([.text("a\0b")]) }
    }

    @Test("a server that does not begin, and one that stops taking rows, cost no more than the deadline")
    func deadlines() async throws {
        try await TestDatabase.withDatabase { url in
            let configuration = try PostgresConfiguration(url: url, applicationName: "postgres-tests")
            let holder = try await PostgresConnection.connect(configuration, deadline: soon())
            try await holder.execute(script: schema + slowRows, deadline: soon())
            for isLocked in [true, false] {
                if isLocked {
                    try await holder.execute(script: "BEGIN; LOCK TABLE things", deadline: soon())
                }
                let connection = try await PostgresConnection.connect(configuration, deadline: soon())
                let rows = try names(0..<30_000, String(repeating: "x", count: 1_000))
                let start = ContinuousClock.now
                let error = await postgresError {
                    _ = try await connection.copy(.copyNames, rows, deadline: soon(.milliseconds(300)))
                }
                #expect(error?.code == .timedOut)
                #expect(ContinuousClock.now - start < .seconds(3))
                #expect(!connection.isUsable)
                if isLocked { _ = try await holder.query(.rollback, deadline: soon()) }
            }
            #expect(try await count(holder) == 0)
            await holder.close()
        }
    }

    @Test("a cancelled task stops in the middle of the rows")
    func cancellation() async throws {
        try await withConnection { connection in
            try await connection.execute(script: schema + slowRows, deadline: soon())
            let rows = try names(0..<30_000, String(repeating: "x", count: 1_000))
            let start = ContinuousClock.now
            let copying = Task {
                await postgresError { _ = try await connection.copy(.copyNames, rows, deadline: soon(.seconds(60))) }
            }
            copying.cancel()
            #expect(await copying.value?.code == .cancelled)
            #expect(ContinuousClock.now - start < .seconds(10))
        }
    }
}

/// Each row takes a tenth of a second, so that the rest waits in the sockets, and then with the client.
private let slowRows = """
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END';
    CREATE TRIGGER slow BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION be_slow();
    """
