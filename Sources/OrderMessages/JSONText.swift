import FoundationEssentials
import OrderDomain

/// A JSON text (RFC 8259) that is being written: UTF-8, no spaces, only what must be escaped is.
struct JSONText: FieldWriter {
    /// Most answers fit, so most are written without a second allocation.
    private static let usualSize = 512

    private var bytes: [UInt8] = []

    init() {
        bytes.reserveCapacity(Self.usualSize)
    }

    /// An object's whole text: the same bytes as ``encoded(_:)``.
    static func string(of object: some FieldTable) -> String {
        var text = JSONText()
        text.append(object)
        return text.string
    }

    /// What was written.
    var string: String { String(decoding: bytes, as: UTF8.self) }

    // MARK: Fields

    mutating func integer(_ name: String, _ value: Int64) {
        append(name: name)
        append(value)
    }

    mutating func text(_ name: String, _ value: String) {
        append(name: name)
        append(value)
    }

    mutating func uuid(_ name: String, _ value: UUID) {
        append(name: name)
        bytes.append(UInt8(ascii: "\""))
        bytes.append(textOf: value)
        bytes.append(UInt8(ascii: "\""))
    }

    mutating func time(_ name: String, _ value: Date) {
        append(name: name)
        bytes.append(UInt8(ascii: "\""))
        bytes.append(rfc3339: value)
        bytes.append(UInt8(ascii: "\""))
    }

    mutating func object(_ name: String, _ value: some FieldTable) {
        append(name: name)
        append(value)
    }

    mutating func objects<Value: FieldTable>(_ name: String, _ values: some Sequence<Value>) {
        append(name: name)
        bytes.append(UInt8(ascii: "["))
        for value in values {
            if bytes.last != UInt8(ascii: "[") { bytes.append(UInt8(ascii: ",")) }
            append(value)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    /// Writes a field whose value is JSON already.
    mutating func json(_ name: String, _ value: String) {
        append(name: name)
        bytes.append(contentsOf: value.utf8)
    }

    // MARK: Values

    /// Writes an object.
    mutating func append(_ object: some FieldTable) {
        open()
        object.write(to: &self)
        close()
    }

    /// Begins an object.
    mutating func open() { bytes.append(UInt8(ascii: "{")) }

    /// Ends an object.
    mutating func close() { bytes.append(UInt8(ascii: "}")) }

    /// Names are ours: none has anything to escape.
    private mutating func append(name: String) {
        if bytes.last != UInt8(ascii: "{") { bytes.append(UInt8(ascii: ",")) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: name.utf8)
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
    }

    private mutating func append(_ number: Int64) {
        if number < 0 { bytes.append(UInt8(ascii: "-")) }
        let start = bytes.count
        var rest = number.magnitude
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        // Reversing a slice would copy it first.
        for offset in 0..<(bytes.count - start) / 2 { bytes.swapAt(start + offset, bytes.count - 1 - offset) }
    }

    private mutating func append(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        if text.utf8.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
            bytes.append(contentsOf: text.utf8)
        } else {
            for byte in text.utf8 { append(escaping: byte) }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// Every byte of a character beyond ASCII is above 0x7F, so bytes can be looked at one by one.
    private mutating func append(escaping byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): bytes += [UInt8(ascii: "\\"), UInt8(ascii: "\"")]
        case UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), UInt8(ascii: "\\")]
        case 0x08: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "b")]
        case 0x09: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "t")]
        case 0x0A: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "n")]
        case 0x0C: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "f")]
        case 0x0D: bytes += [UInt8(ascii: "\\"), UInt8(ascii: "r")]
        case 0x00..<0x20:
            bytes.append(contentsOf: (byte < 0x10 ? "\\u000" : "\\u001").utf8)
            let digit = byte & 0xF
            bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        default: bytes.append(byte)
        }
    }
}
