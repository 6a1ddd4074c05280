/// An object id of a type in `pg_type`; those of the built-in types never change.
struct TypeOID: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    let rawValue: UInt32

    static let unspecified = TypeOID(rawValue: 0)
    static let bool = TypeOID(rawValue: 16)
    static let bytea = TypeOID(rawValue: 17)
    static let name = TypeOID(rawValue: 19)
    static let int8 = TypeOID(rawValue: 20)
    static let int2 = TypeOID(rawValue: 21)
    static let int4 = TypeOID(rawValue: 23)
    static let text = TypeOID(rawValue: 25)
    static let json = TypeOID(rawValue: 114)
    static let jsonArray = TypeOID(rawValue: 199)
    static let float4 = TypeOID(rawValue: 700)
    static let float8 = TypeOID(rawValue: 701)
    static let boolArray = TypeOID(rawValue: 1000)
    static let byteaArray = TypeOID(rawValue: 1001)
    static let int2Array = TypeOID(rawValue: 1005)
    static let int4Array = TypeOID(rawValue: 1007)
    static let textArray = TypeOID(rawValue: 1009)
    static let varcharArray = TypeOID(rawValue: 1015)
    static let int8Array = TypeOID(rawValue: 1016)
    static let bpchar = TypeOID(rawValue: 1042)
    static let varchar = TypeOID(rawValue: 1043)
    static let timestamptz = TypeOID(rawValue: 1184)
    static let timestamptzArray = TypeOID(rawValue: 1185)
    static let numeric = TypeOID(rawValue: 1700)
    static let uuid = TypeOID(rawValue: 2950)
    static let uuidArray = TypeOID(rawValue: 2951)
    static let jsonb = TypeOID(rawValue: 3802)

    private static let names: [TypeOID: String] = [
        .bool: "boolean", .bytea: "bytea", .name: "name", .int8: "bigint", .int2: "smallint", .int4: "integer",
        .text: "text", .json: "json", .jsonArray: "json[]", .float4: "real", .float8: "double precision",
        .boolArray: "boolean[]", .byteaArray: "bytea[]", .int2Array: "smallint[]", .int4Array: "integer[]",
        .textArray: "text[]", .varcharArray: "varchar[]", .int8Array: "bigint[]", .bpchar: "char", .varchar: "varchar",
        .timestamptz: "timestamptz", .timestamptzArray: "timestamptz[]", .numeric: "numeric", .uuid: "uuid",
        .uuidArray: "uuid[]", .jsonb: "jsonb",
    ]

    /// The type's SQL name, or its number.
    var description: String { Self.names[self] ?? "type \(rawValue)" }
}
