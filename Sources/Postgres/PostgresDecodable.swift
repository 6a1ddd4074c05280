package import FoundationEssentials

/// A type that a column can be read as.
package protocol PostgresDecodable {
    /// Reads the cell; throws `.decoding` when it holds something else.
    static func decode(_ cell: PostgresCell) throws(PostgresError) -> Self
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> Wrapped? {
        if cell.isNull { return nil }
        return try Wrapped.decode(cell)
    }
}

extension PostgresCell {
    /// An integer of any width that surely fits `Value`.
    fileprivate func widened<Value: FixedWidthInteger>(to _: Value.Type) -> Value? {
        switch type {
        case .int2: integer(Int16.self).flatMap { Value(exactly: $0) }
        case .int4 where Value.bitWidth >= 32: integer(Int32.self).flatMap { Value(exactly: $0) }
        case .int8 where Value.bitWidth >= 64: integer(Int64.self).flatMap { Value(exactly: $0) }
        default: nil
        }
    }

    fileprivate func required<Value>(_ value: Value?) throws(PostgresError) -> Value {
        guard let value, !isNull else { throw mismatch(Value.self) }
        return value
    }
}

extension Int16: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> Int16 {
        try cell.required(cell.widened(to: Int16.self))
    }
}

extension Int32: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> Int32 {
        try cell.required(cell.widened(to: Int32.self))
    }
}

extension Int64: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> Int64 {
        try cell.required(cell.widened(to: Int64.self))
    }
}

extension Int: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> Int {
        try cell.required(cell.widened(to: Int.self))
    }
}

extension Bool: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> Bool {
        try cell.required(cell.type == .bool ? cell.integer(UInt8.self).map { $0 != 0 } : nil)
    }
}

extension Double: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> Double {
        switch cell.type {
        case .float8: try cell.required(cell.integer(UInt64.self).map { Double(bitPattern: $0) })
        case .float4: try cell.required(cell.integer(UInt32.self).map { Double(Float(bitPattern: $0)) })
        default: throw cell.mismatch(Double.self)
        }
    }
}

extension String: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> String {
        switch cell.type {
        case .text, .varchar, .bpchar, .name, .json: try cell.required(cell.text())
        // jsonb has its version, 1, before the text.
        case .jsonb: try cell.required(cell.text(skipping: 1))
        default: throw cell.mismatch(String.self)
        }
    }
}

extension UUID: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> UUID {
        guard cell.type == .uuid, !cell.isNull else { throw cell.mismatch(UUID.self) }
        return try cell.required(UUID(bigEndian: cell.bytes[...]))
    }
}

extension Date: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> Date {
        guard cell.type == .timestamptz else { throw cell.mismatch(Date.self) }
        return try cell.required(cell.integer(Int64.self).flatMap(PostgresTimestamp.date(ofMicroseconds:)))
    }
}

/// A type whose arrays can be read: the elements of a one-dimensional array without NULLs, or `bytea` for bytes.
package protocol PostgresArrayElement {
    /// Reads a cell that is not NULL; nil when it holds something else.
    static func decodeArray(_ cell: PostgresCell) -> [Self]?
}

extension Array: PostgresDecodable where Element: PostgresArrayElement {
    package static func decode(_ cell: PostgresCell) throws(PostgresError) -> [Element] {
        try cell.required(cell.isNull ? nil : Element.decodeArray(cell))
    }
}

extension UInt8: PostgresArrayElement {
    package static func decodeArray(_ cell: PostgresCell) -> [UInt8]? {
        cell.type == .bytea ? cell.bytes : nil
    }
}

extension Int64: PostgresArrayElement {
    package static func decodeArray(_ cell: PostgresCell) -> [Int64]? {
        guard cell.type == .int8Array else { return nil }
        var reader = ByteReader(cell.bytes)
        return reader.array(of: .int8) { bytes in
            var element = ByteReader(Array(bytes))
            return element.integer()
        }
    }
}

extension String: PostgresArrayElement {
    package static func decodeArray(_ cell: PostgresCell) -> [String]? {
        guard cell.type == .textArray || cell.type == .varcharArray else { return nil }
        var reader = ByteReader(cell.bytes)
        return reader.array(of: cell.type == .textArray ? .text : .varchar) { String(validating: $0, as: UTF8.self) }
    }
}

extension UUID: PostgresArrayElement {
    package static func decodeArray(_ cell: PostgresCell) -> [UUID]? {
        guard cell.type == .uuidArray else { return nil }
        var reader = ByteReader(cell.bytes)
        return reader.array(of: .uuid) { UUID(bigEndian: $0) }
    }
}

extension UUID {
    /// The sixteen bytes in the order in which a UUID is written; nil when they are not sixteen.
    fileprivate init?(bigEndian bytes: ArraySlice<UInt8>) {
        guard bytes.count == 16 else { return nil }
        var uuid: uuid_t = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        unsafe withUnsafeMutableBytes(of: &uuid) { unsafe $0.copyBytes(from: bytes) }
        self.init(uuid: uuid)
    }
}
