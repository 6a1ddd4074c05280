import FoundationEssentials
import Postgres
import Testing

extension SQLStatement {
    fileprivate static let asText = SQLStatement("as_text", "SELECT $1::text AS value")
    fileprivate static let bool = SQLStatement("echo_bool", "SELECT $1::bool AS value")
    fileprivate static let int2 = SQLStatement("echo_int2", "SELECT $1::int2 AS value")
    fileprivate static let int4 = SQLStatement("echo_int4", "SELECT $1::int4 AS value")
    fileprivate static let int8 = SQLStatement("echo_int8", "SELECT $1::int8 AS value")
    fileprivate static let float8 = SQLStatement("echo_float8", "SELECT $1::float8 AS value")
    fileprivate static let text = SQLStatement("echo_text", "SELECT $1::text AS value")
    fileprivate static let varchar = SQLStatement("echo_varchar", "SELECT $1::varchar AS value")
    fileprivate static let json = SQLStatement("echo_json", "SELECT $1::json AS value")
    fileprivate static let jsonb = SQLStatement("echo_jsonb", "SELECT $1::jsonb AS value")
    fileprivate static let bytea = SQLStatement("echo_bytea", "SELECT $1::bytea AS value")
    fileprivate static let uuid = SQLStatement("echo_uuid", "SELECT $1::uuid AS value")
    fileprivate static let timestamptz = SQLStatement("echo_timestamptz", "SELECT $1::timestamptz AS value")
    fileprivate static let microseconds = SQLStatement(
        "microseconds",
        "SELECT (extract(epoch FROM $1::timestamptz) * 1000000)::int8 AS value"
    )
    fileprivate static let infinity = SQLStatement("infinity", "SELECT 'infinity'::timestamptz AS value")
    fileprivate static let int8s = SQLStatement("echo_int8s", "SELECT $1::int8[] AS value")
    fileprivate static let texts = SQLStatement("echo_texts", "SELECT $1::text[] AS value")
    fileprivate static let varchars = SQLStatement("echo_varchars", "SELECT $1::varchar[] AS value")
    fileprivate static let uuids = SQLStatement("echo_uuids", "SELECT $1::uuid[] AS value")
    fileprivate static let unnestInt2 = SQLStatement("unnest_int2", "SELECT unnest($1::int2[]) AS value")
    fileprivate static let unnestInt4 = SQLStatement("unnest_int4", "SELECT unnest($1::int4[]) AS value")
    fileprivate static let unnestBool = SQLStatement("unnest_bool", "SELECT unnest($1::bool[]) AS value")
    fileprivate static let unnestText = SQLStatement("unnest_text", "SELECT unnest($1::text[]) AS value")
    fileprivate static let unnestJSON = SQLStatement("unnest_json", "SELECT unnest($1::jsonb[]) AS value")
    fileprivate static let unnestBytes = SQLStatement("unnest_bytes", "SELECT unnest($1::bytea[]) AS value")
    fileprivate static let unnestUUID = SQLStatement("unnest_uuid", "SELECT unnest($1::uuid[]) AS value")
    fileprivate static let unnestTime = SQLStatement("unnest_time", "SELECT unnest($1::timestamptz[]) AS value")
    fileprivate static let setNull = SQLStatement("set_null", "SELECT NULL::int8 AS value, 'x'::text AS name")
    fileprivate static let tableOfJSON = SQLStatement("insert_json", "INSERT INTO documents (body) VALUES ($1)")
}

@Suite("Values on the wire", .timeLimit(.minutes(2)))
struct ValueTests {
    /// Sends each value and expects it back unchanged.
    private func expectRoundTrip<T: PostgresDecodable & Equatable & Sendable>(
        _ connection: PostgresConnection,
        _ statement: SQLStatement,
        _ values: [T],
        _ wrap: (T) -> PostgresValue
    ) async throws {
        for value in values {
            let rows = try await connection.query(statement, [wrap(value)], deadline: soon())
            #expect(try rows[0].get("value") == value)
            #expect(try rows[0].get("value") == T?.some(value))
        }
        let nulls = try await connection.query(statement, [.null], deadline: soon())
        #expect(try nulls[0].get("value", as: T?.self) == nil)
        #expect(throws: PostgresError.self) { try nulls[0].get("value", as: T.self) }
    }

    @Test("scalars come back as they were sent, NULL and extremes included")
    func scalars() async throws {
        try await withConnection { connection in
            try await expectRoundTrip(connection, .bool, [true, false]) { .bool($0) }
            try await expectRoundTrip(connection, .int2, [.min, -1, 0, 1, .max]) { .int16($0) }
            try await expectRoundTrip(connection, .int4, [.min, -1, 0, 1, .max]) { .int32($0) }
            try await expectRoundTrip(connection, .int8, [.min, -1, 0, 1, .max]) { .int64($0) }
            try await expectRoundTrip(
                connection,
                .float8,
                [0, -0.0, 0.1, -.infinity, .infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude]
            ) { .double($0) }
            let notANumber = try await connection.query(.float8, [.double(.nan)], deadline: soon())
            #expect(try notANumber[0].get("value", as: Double.self).isNaN)
            let bytes: [[UInt8]] = [[], [0], Array(0...255), [UInt8](repeating: 7, count: 100_000)]
            try await expectRoundTrip(connection, .bytea, bytes) { .bytes($0) }
            try await expectRoundTrip(connection, .uuid, [UUID(), UUID()]) { .uuid($0) }
            let uuid = UUID()
            let written = try await connection.query(.asText, [.text(uuid.uuidString)], deadline: soon())
            #expect(try written[0].get("value", as: String.self) == uuid.uuidString)
        }
    }

    @Test("text and JSON of any script come back as they were sent")
    func texts() async throws {
        try await withConnection { connection in
            let texts = ["", "a", "주문 🛒 e\u{301}", "'; DROP TABLE orders; --", "\u{1}\u{7f}\u{10FFFF}", "\\x00 \t\n"]
            try await expectRoundTrip(connection, .text, texts) { .text($0) }
            try await expectRoundTrip(connection, .varchar, texts) { .text($0) }
            try await expectRoundTrip(connection, .json, [#"{"b": 1,  "a": "주문"}"#, "null", "[]"]) { .json($0) }
            try await expectRoundTrip(connection, .jsonb, [#"{"a": "주문"}"#, "null", "[]"]) { .json($0) }
        }
    }

    @Test("timestamps are exact to the microsecond, rounded to the nearest")
    func timestamps() async throws {
        try await withConnection { connection in
            // Microseconds since 1970: both sides of both epochs, today, a far year.
            for expected: Int64 in [
                0, 1, -1, 946_684_800_000_000, 946_684_799_999_999, 978_307_200_000_001, 1_795_500_000_123_457,
                4_102_444_800_999_999, -62_135_596_800_000_000,
            ] {
                let (seconds, micros) = expected.quotientAndRemainder(dividingBy: 1_000_000)
                let reference = Double(seconds - 978_307_200) + Double(micros) / 1_000_000
                let date = Date(timeIntervalSinceReferenceDate: reference)
                let rows = try await connection.query(.microseconds, [.timestamp(date)], deadline: soon())
                #expect(try rows[0].get("value", as: Int64.self) == expected)
                let back = try await connection.query(.timestamptz, [.timestamp(date)], deadline: soon())
                #expect(try back[0].get("value", as: Date.self) == date)
            }
            let between = Date(timeIntervalSinceReferenceDate: 0.000_000_6)
            let rounded = try await connection.query(.microseconds, [.timestamp(between)], deadline: soon())
            #expect(try rounded[0].get("value", as: Int64.self) == 978_307_200_000_001)
            let infinite = try await connection.query(.infinity, deadline: soon())
            #expect(throws: PostgresError.self) { try infinite[0].get("value", as: Date.self) }
        }
    }

    @Test("arrays come back as they were sent, empty ones included")
    func arrays() async throws {
        try await withConnection { connection in
            try await expectRoundTrip(connection, .int8s, [[], [1], [.min, 0, .max]]) { .int64Array($0) }
            try await expectRoundTrip(connection, .texts, [[], [""], ["주문", "a,b", "{}", "NULL"]]) { .textArray($0) }
            try await expectRoundTrip(connection, .varchars, [[], ["x"]]) { .textArray($0) }
            try await expectRoundTrip(connection, .uuids, [[], [UUID(), UUID()]]) { .uuidArray($0) }
            let withNull = try await connection.query(.texts, [.textArray(["a", nil])], deadline: soon())
            #expect(throws: PostgresError.self) { try withNull[0].get("value", as: [String].self) }
        }
    }

    @Test("every array can be unnested, NULL elements included")
    func unnest() async throws {
        try await withConnection { connection in
            func expect<T: PostgresDecodable & Equatable>(
                _ statement: SQLStatement,
                _ value: PostgresValue,
                _ expected: [T]
            ) async throws {
                let rows = try await connection.query(statement, [value], deadline: soon())
                let found: [T] = try rows.map { try $0.get("value") }
                #expect(found == expected)
            }
            try await expect(.unnestInt2, .int16Array([.min, 0, .max]), [Int16.min, 0, .max])
            try await expect(.unnestInt4, .int32Array([.min, 0, .max]), [Int32.min, 0, .max])
            try await expect(.unnestBool, .boolArray([true, false]), [true, false])
            try await expect(.unnestText, .textArray(["a", nil, ""]), ["a", nil, ""])
            try await expect(.unnestJSON, .jsonArray(["{}", "1"]), ["{}", "1"])
            try await expect(.unnestBytes, .bytesArray([[0], nil, []]), [[UInt8(0)], nil, []])
            let uuid = UUID()
            try await expect(.unnestUUID, .uuidArray([uuid, nil]), [uuid, nil])
            let date = Date(timeIntervalSinceReferenceDate: 1)
            try await expect(.unnestTime, .timestampArray([date]), [date])
            let empties: [(SQLStatement, PostgresValue)] = [
                (.unnestInt2, .int16Array([])), (.unnestInt4, .int32Array([])), (.unnestBool, .boolArray([])),
                (.unnestText, .textArray([])), (.unnestJSON, .jsonArray([])), (.unnestBytes, .bytesArray([])),
                (.unnestUUID, .uuidArray([])), (.unnestTime, .timestampArray([])),
            ]
            for (statement, value) in empties {
                try await expect(statement, value, [Bool]())
            }
        }
    }

    @Test("a value that PostgreSQL cannot hold is refused before anything is sent")
    func unencodable() async throws {
        // Not arguments of the test: it would print them, and Foundation traps when it prints such dates.
        let dates = [.infinity, .nan, 1e300, -1e300, 9.25e12, -2.2e11].map { Date(timeIntervalSinceReferenceDate: $0) }
        let values: [PostgresValue] =
            [.text("a\0b"), .json("\0"), .textArray(["fine", "\0"]), .jsonArray(["\0"]), .timestampArray(dates)]
            + dates.map { .timestamp($0) }
        try await withConnection { connection in
            for (index, value) in values.enumerated() {
                let error = await postgresError { _ = try await connection.query(.asText, [value], deadline: soon()) }
                #expect(error?.code == .invalidParameter, "value \(index)")
                #expect(connection.isUsable)
            }
            try await expectWorking(connection)
        }
    }

    @Test("a wrong column, a wrong type and a NULL are named in the error")
    func decodingErrors() async throws {
        try await withConnection { connection in
            let row = try await connection.query(.setNull, deadline: soon())[0]
            func failure(_ body: () throws -> Void) -> PostgresError? {
                do {
                    try body()
                    return nil
                } catch { return error as? PostgresError }
            }
            let unknown = failure { _ = try row.get("absent", as: Int.self) }
            #expect(unknown?.code == .decoding && unknown?.column == "absent")
            let null = failure { _ = try row.get("value", as: Int64.self) }
            #expect(null?.code == .decoding && null?.message == "column value is NULL, which is no Int64")
            let wrong = failure { _ = try row.get("name", as: Int64.self) }
            #expect(wrong?.message == "column name is text, which is no Int64")
            #expect(failure { _ = try row.get("value", as: Int32?.self) } == nil)
            let number = try await connection.query(.int8, [.int64(1)], deadline: soon())[0]
            #expect(failure { _ = try number.get("value", as: Int32.self) }?.code == .decoding)
            #expect(try number.get("value", as: Int.self) == 1)
            let small = try await connection.query(.int2, [.int16(-5)], deadline: soon())[0]
            #expect(try small.get("value", as: Int64.self) == -5)
        }
    }

    @Test("a statement that comes with other types is prepared once more, and NULL fits every type")
    func variants() async throws {
        try await withConnection { connection in
            let statement = SQLStatement("variants", "SELECT $1::text AS value")
            let sent: [(PostgresValue, String?)] = [
                (.null, nil), (.text("x"), "x"), (.int64(5), "5"), (.null, nil), (.double(0.5), "0.5"),
                (.int64(6), "6"), (.bool(true), "true"),
            ]
            for (value, expected) in sent {
                let rows = try await connection.query(statement, [value], deadline: soon())
                #expect(try rows[0].get("value", as: String?.self) == expected)
            }
        }
    }

    @Test("JSON fits a jsonb column")
    func jsonColumn() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TABLE documents (body jsonb)", deadline: soon())
            let rows = try await connection.query(.tableOfJSON, [.json("{}")], deadline: soon())
            #expect(rows.affectedRows == 1 && rows.isEmpty)
        }
    }
}
