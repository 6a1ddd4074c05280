import FoundationEssentials

/// Reads big-endian values off the bytes of one cell; nil once they run out.
struct ByteReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
    }

    mutating func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self) -> Value? {
        guard let bytes = take(Value.bitWidth / 8) else { return nil }
        return bytes.reduce(0) { $0 << 8 | Value(truncatingIfNeeded: $1) }
    }

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    /// The elements of a one-dimensional array of the given type; nil when it is another type, has NULLs or is torn.
    mutating func array<Element>(
        of type: TypeOID,
        _ decode: (ArraySlice<UInt8>) -> Element?
    ) -> [Element]? {
        guard let dimensions = integer(Int32.self), integer(Int32.self) != nil,
            integer(UInt32.self) == type.rawValue
        else { return nil }
        if dimensions == 0 { return [] }
        guard dimensions == 1, let count = integer(Int32.self), count >= 0, integer(Int32.self) != nil else {
            return nil
        }
        var elements: [Element] = []
        elements.reserveCapacity(min(Int(count), rest.count / 4))
        for _ in 0..<count {
            guard let length = integer(Int32.self), let bytes = take(Int(length)), let element = decode(bytes) else {
                return nil
            }
            elements.append(element)
        }
        return elements
    }
}
