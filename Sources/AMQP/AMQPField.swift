/// A value in a message's headers or a queue's arguments.
///
/// Kinds of integers that aren't listed are received as the next wider one that is; what can't be expressed at all is
/// received as ``unsupported(kind:)`` and can't be sent.
package enum AMQPField: Sendable, Hashable {
    /// No value.
    case null
    /// True or false.
    case bool(Bool)
    /// An integer of 32 bits; what the broker expects of most queue arguments.
    case int32(Int32)
    /// An integer of 64 bits.
    case int64(Int64)
    /// A floating-point number.
    case double(Double)
    /// `value` × 10^-`scale`.
    case decimal(scale: UInt8, value: UInt32)
    /// Text; the wire doesn't tell text from bytes here, so what isn't UTF-8 is received as ``bytes(_:)``.
    case string(String)
    /// Bytes.
    case bytes([UInt8])
    /// Seconds since 1970.
    case timestamp(Int64)
    /// Values in order.
    case array([AMQPField])
    /// Values by name; a name has at most 128 bytes.
    case table([String: AMQPField])
    /// A value of a kind this client doesn't know, or nested too deeply; `kind` is the letter on the wire.
    case unsupported(kind: UInt8)

    /// How deeply tables and arrays may be nested.
    package static let maximumDepth = 8

    /// The text, when it is text.
    package var string: String? {
        if case .string(let value) = self { value } else { nil }
    }

    /// The number, when it is an integer or a timestamp.
    package var integer: Int64? {
        switch self {
        case .int32(let value): Int64(value)
        case .int64(let value), .timestamp(let value): value
        default: nil
        }
    }

    /// The entries, when it is a table.
    package var table: [String: AMQPField]? {
        if case .table(let value) = self { value } else { nil }
    }

    /// The elements, when it is an array.
    package var array: [AMQPField]? {
        if case .array(let value) = self { value } else { nil }
    }

    /// Bytes on the wire, the kind's letter included; `nil` for what can't be sent.
    func encodedSize(depth: Int = 0) -> Int? {
        switch self {
        case .null: 1
        case .bool: 2
        case .int32: 5
        case .int64, .double, .timestamp: 9
        case .decimal: 6
        case .string(let value): 5 + value.utf8.count
        case .bytes(let value): 5 + value.count
        case .array(let elements): Self.encodedSize(of: elements, depth: depth).map { 1 + $0 }
        case .table(let entries): Self.encodedSize(of: entries, depth: depth).map { 1 + $0 }
        case .unsupported: nil
        }
    }

    /// Bytes on the wire of a table, its length field included; `nil` for what can't be sent.
    static func encodedSize(of entries: [String: AMQPField], depth: Int = 0) -> Int? {
        guard depth < maximumDepth else { return nil }
        var size = 4
        for (key, value) in entries {
            guard key.utf8.count <= 128, let valueSize = value.encodedSize(depth: depth + 1) else { return nil }
            size += 1 + key.utf8.count + valueSize
        }
        return size
    }

    private static func encodedSize(of elements: [AMQPField], depth: Int) -> Int? {
        guard depth < maximumDepth else { return nil }
        var size = 4
        for element in elements {
            guard let elementSize = element.encodedSize(depth: depth + 1) else { return nil }
            size += elementSize
        }
        return size
    }
}
