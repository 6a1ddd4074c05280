import FoundationEssentials

/// The parameters of one statement in PostgreSQL's binary format (`*_send` functions of the server's sources).
struct EncodedParameters {
    /// The protocol counts parameters in 16 bits.
    static let maximumCount = 65_535
    /// The server takes no message over 1 GiB; half of it is far past any sensible batch.
    static let maximumBytes = 512 << 20

    private(set) var types: [TypeOID] = []
    /// Where each value lies in `bytes`; nil for NULL.
    private(set) var ranges: [Range<Int>?] = []
    /// All values back to back; never empty, so that its address is never null.
    private(set) var bytes: [UInt8] = [0]

    /// - Throws: `.invalidParameter` naming the position, counted from 1 as in `$1`.
    init(_ values: [PostgresValue]) throws(PostgresError) {
        guard values.count <= Self.maximumCount else {
            throw PostgresError(.invalidParameter, "more than \(Self.maximumCount) parameters")
        }
        types.reserveCapacity(values.count)
        ranges.reserveCapacity(values.count)
        for (index, value) in values.enumerated() {
            let start = bytes.count
            guard let type = append(value) else {
                throw PostgresError(.invalidParameter, "parameter $\(index + 1) cannot be represented in PostgreSQL")
            }
            guard bytes.count <= Self.maximumBytes else {
                throw PostgresError(.invalidParameter, "the parameters are larger than \(Self.maximumBytes) bytes")
            }
            types.append(type)
            ranges.append(type == .unspecified ? nil : start..<bytes.count)
        }
    }

    /// Appends one value and returns its type; nil when it cannot be encoded.
    private mutating func append(_ value: PostgresValue) -> TypeOID? {
        switch value {
        case .null: return .unspecified
        case .bool(let value): return append(value) ? .bool : nil
        case .int16(let value): return append(value) ? .int2 : nil
        case .int32(let value): return append(value) ? .int4 : nil
        case .int64(let value): return append(value) ? .int8 : nil
        case .double(let value): return append(value.bitPattern) ? .float8 : nil
        case .text(let value): return append(value) ? .text : nil
        case .json(let value): return append(value) ? .json : nil
        case .bytes(let value): return append(value) ? .bytea : nil
        case .uuid(let value): return append(value) ? .uuid : nil
        case .timestamp(let value): return append(value) ? .timestamptz : nil
        default: return appendArray(value)
        }
    }

    private mutating func appendArray(_ value: PostgresValue) -> TypeOID? {
        switch value {
        case .int16Array(let values): append(values, of: .int2) { $0.append($1) } ? .int2Array : nil
        case .int32Array(let values): append(values, of: .int4) { $0.append($1) } ? .int4Array : nil
        case .int64Array(let values): append(values, of: .int8) { $0.append($1) } ? .int8Array : nil
        case .boolArray(let values): append(values, of: .bool) { $0.append($1) } ? .boolArray : nil
        case .textArray(let values): append(values, of: .text) { $0.append($1) } ? .textArray : nil
        case .jsonArray(let values): append(values, of: .json) { $0.append($1) } ? .jsonArray : nil
        case .bytesArray(let values): append(values, of: .bytea) { $0.append($1) } ? .byteaArray : nil
        case .uuidArray(let values): append(values, of: .uuid) { $0.append($1) } ? .uuidArray : nil
        case .timestampArray(let values): append(values, of: .timestamptz) { $0.append($1) } ? .timestamptzArray : nil
        default: nil
        }
    }

    /// One dimension, lower bound 1: dimensions, has-nulls flag, element type, length, bound, then the elements.
    private mutating func append<Element>(
        _ values: [Element?],
        of type: TypeOID,
        _ appendElement: (inout EncodedParameters, Element) -> Bool
    ) -> Bool {
        guard let count = Int32(exactly: values.count) else { return false }
        append(Int32(values.isEmpty ? 0 : 1))
        append(Int32(values.contains { $0 == nil } ? 1 : 0))
        append(type.rawValue)
        if values.isEmpty { return true }
        append(count)
        append(Int32(1))
        for value in values {
            guard let value else {
                append(Int32(-1))
                continue
            }
            let lengthPosition = bytes.count
            append(Int32(0))
            guard appendElement(&self, value), patchLength(at: lengthPosition) else { return false }
        }
        return true
    }

    /// Writes the length of what follows the four bytes at `position` into them.
    private mutating func patchLength(at position: Int) -> Bool {
        guard let length = UInt32(exactly: bytes.count - position - 4), length <= Int32.max else { return false }
        for offset in 0..<4 {
            bytes[position + offset] = UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32(offset)))
        }
        return true
    }

    @discardableResult
    private mutating func append(_ value: some FixedWidthInteger) -> Bool {
        unsafe withUnsafeBytes(of: value.bigEndian) { unsafe bytes.append(contentsOf: $0) }
        return true
    }

    private mutating func append(_ value: Bool) -> Bool {
        bytes.append(value ? 1 : 0)
        return true
    }

    private mutating func append(_ value: String) -> Bool {
        let start = bytes.count
        bytes.append(contentsOf: value.utf8)
        return !bytes[start...].contains(0)
    }

    private mutating func append(_ value: [UInt8]) -> Bool {
        bytes.append(contentsOf: value)
        return true
    }

    private mutating func append(_ value: UUID) -> Bool {
        unsafe withUnsafeBytes(of: value.uuid) { unsafe bytes.append(contentsOf: $0) }
        return true
    }

    private mutating func append(_ value: Date) -> Bool {
        guard let microseconds = PostgresTimestamp.microseconds(of: value) else { return false }
        return append(microseconds)
    }
}
