/// A text that is no JSON, or none that is read here.
package struct JSONSyntaxError: Error, Hashable, Sendable {
    /// How many bytes of the text were read before it was given up.
    package let offset: Int
}

/// Reads one JSON text (RFC 8259) in one pass over its bytes, and nothing that only resembles it.
struct JSONParser {
    /// How deep arrays and objects may be nested; each level is one level of recursion here.
    static let maximumDepth = 64
    /// How many bytes of UTF-8 a member's name may have: to hash a `String` it is normalized, and a run of combining
    /// characters takes time in proportion to the square of its length.
    static let maximumNameSize = 256

    private let bytes: [UInt8]
    private var index = 0

    private init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Reads the whole text as one value.
    static func parse(_ bytes: [UInt8]) throws(JSONSyntaxError) -> JSONValue {
        var parser = JSONParser(bytes)
        parser.skipSpace()
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.next == nil else { throw parser.failure }
        return value
    }

    // MARK: Values

    /// Reads a value that begins at the index and stands inside so many arrays and objects.
    private mutating func value(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func object(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        guard depth <= Self.maximumDepth else { throw failure }
        index += 1
        var members: [String: JSONValue] = [:]
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        repeat {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw failure }
            let name = try string()
            guard name.utf8.count <= Self.maximumNameSize else { throw failure }
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw failure }
            skipSpace()
            // Which of two values a sender meant nobody can tell. Names that differ only in the normal form of their
            // Unicode count as one, for `String` compares so.
            guard members.updateValue(try value(depth: depth), forKey: name) == nil else { throw failure }
            skipSpace()
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw failure }
        return .object(members)
    }

    private mutating func array(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        guard depth <= Self.maximumDepth else { throw failure }
        index += 1
        var elements: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        repeat {
            skipSpace()
            elements.append(try value(depth: depth))
            skipSpace()
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw failure }
        return .array(elements)
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONSyntaxError) -> JSONValue {
        for byte in word.description.utf8 {
            guard take(byte) else { throw failure }
        }
        return value
    }

    // MARK: Numbers

    private mutating func number() throws(JSONSyntaxError) -> JSONValue {
        let start = index
        var isWhole = true
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try digits() }
        if take(UInt8(ascii: ".")) {
            isWhole = false
            try digits()
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isWhole = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isWhole, let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text) else { throw failure }
        return .number(number)
    }

    private mutating func digits() throws(JSONSyntaxError) {
        let start = index
        while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { index += 1 }
        guard index > start else { throw failure }
    }

    // MARK: Texts

    private mutating func string() throws(JSONSyntaxError) -> String {
        index += 1
        var text: [UInt8] = []
        var start = index
        while let byte = next, byte >= 0x20 {
            switch byte {
            case UInt8(ascii: "\""):
                text += bytes[start..<index]
                // Escapes add only whole characters, so no broken sequence around one becomes a right one.
                guard let string = String(validating: text, as: UTF8.self) else { throw failure }
                index += 1
                return string
            case UInt8(ascii: "\\"):
                text += bytes[start..<index]
                index += 1
                text += try escaped().utf8
                start = index
            default:
                index += 1
            }
        }
        throw failure
    }

    /// Reads what follows a backslash.
    private mutating func escaped() throws(JSONSyntaxError) -> Unicode.Scalar {
        guard let byte = next else { throw failure }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try escapedScalar()
        default: throw failure
        }
    }

    /// Reads the digits after `\u` and, when they are the first half of a surrogate pair, the escape of the second.
    private mutating func escapedScalar() throws(JSONSyntaxError) -> Unicode.Scalar {
        let unit = try codeUnit()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        guard UTF16.isLeadSurrogate(unit), take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else { throw failure }
        let second = try codeUnit()
        guard UTF16.isTrailSurrogate(second) else { throw failure }
        return UTF16.decode(UTF16.EncodedScalar([unit, second]))
    }

    private mutating func codeUnit() throws(JSONSyntaxError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = next.flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else { throw failure }
            index += 1
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }

    // MARK: Bytes

    private var next: UInt8? {
        index < bytes.count ? bytes[index] : nil
    }

    private var failure: JSONSyntaxError {
        JSONSyntaxError(offset: index)
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = next, Self.isSpace(byte) { index += 1 }
    }

    /// Whether JSON has this byte between its parts.
    static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }
}
