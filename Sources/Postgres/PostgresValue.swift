package import FoundationEssentials

/// A parameter, sent in PostgreSQL's binary format with its type.
///
/// The server checks the type when it prepares the statement; it may still cast, as in `$1::jsonb` for a `json`.
package enum PostgresValue: Sendable, Hashable {
    /// NULL of whatever type the statement has there.
    case null
    case bool(Bool)
    case int16(Int16)
    case int32(Int32)
    case int64(Int64)
    case double(Double)
    /// Text without the character U+0000, which PostgreSQL cannot store.
    case text(String)
    /// A JSON document, sent as `json`; assigning it to a `jsonb` column is fine.
    case json(String)
    case bytes([UInt8])
    case uuid(UUID)
    /// A `timestamptz`, rounded to the nearest microsecond; 4714 BC to AD 294276.
    case timestamp(Date)
    case int16Array([Int16])
    case int32Array([Int32])
    case int64Array([Int64])
    case boolArray([Bool])
    case textArray([String?])
    case jsonArray([String])
    case bytesArray([[UInt8]?])
    case uuidArray([UUID?])
    case timestampArray([Date])
}
