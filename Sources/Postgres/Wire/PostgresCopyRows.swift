/// Rows for a `COPY … FROM STDIN (FORMAT binary)`, encoded as they are appended ("COPY" in PostgreSQL's manual).
///
/// Nothing is converted by the server: each value must have exactly its column's type.
package struct PostgresCopyRows: Sendable {
    /// The most that one COPY takes, in bytes; further rows belong into the next one.
    package static let maximumBytes = 64 << 20

    /// Signature, flags and length of the header's extension.
    private static let header = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0x00] + [UInt8](repeating: 0, count: 8)
    static let trailer: ArraySlice<UInt8> = [0xFF, 0xFF]

    private(set) var bytes = PostgresCopyRows.header
    /// How many rows there are.
    package private(set) var count = 0

    /// No rows yet.
    package init() {}

    /// Appends a row: a value for each column that the statement names, in its order.
    ///
    /// - Throws: `.invalidParameter`, and leaves the row out, when a value cannot be represented or the rows become
    ///   larger than ``maximumBytes``.
    package mutating func append(_ row: [PostgresValue]) throws(PostgresError) {
        let values = try EncodedParameters(row)
        guard bytes.count + values.bytes.count + 4 * row.count <= Self.maximumBytes,
            let columns = UInt16(exactly: row.count), columns <= Int16.max
        else {
            throw PostgresError(.invalidParameter, "the rows of a COPY are larger than \(Self.maximumBytes) bytes")
        }
        bytes.append(UInt8(columns >> 8))
        bytes.append(UInt8(columns & 0xFF))
        for range in values.ranges {
            append(length: range.map(\.count))
            if let range { bytes.append(contentsOf: values.bytes[range]) }
        }
        count += 1
    }

    /// Four bytes; -1 stands for NULL.
    private mutating func append(length: Int?) {
        let length = UInt32(bitPattern: length.map { Int32(clamping: $0) } ?? -1)
        for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: length >> shift)) }
    }
}
