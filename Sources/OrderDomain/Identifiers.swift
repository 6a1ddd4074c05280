package import FoundationEssentials

/// A user's number, from 1.
package struct UserID: Hashable, Comparable, Sendable {
    package let rawValue: Int64

    /// An id, or nil when the number is not positive.
    package init?(_ rawValue: Int64) {
        guard rawValue > 0 else { return nil }
        self.rawValue = rawValue
    }

    package static func < (left: UserID, right: UserID) -> Bool { left.rawValue < right.rawValue }
}

/// A product's number, from 1.
package struct ProductID: Hashable, Comparable, Sendable {
    package let rawValue: Int64

    /// An id, or nil when the number is not positive.
    package init?(_ rawValue: Int64) {
        guard rawValue > 0 else { return nil }
        self.rawValue = rawValue
    }

    package static func < (left: ProductID, right: ProductID) -> Bool { left.rawValue < right.rawValue }
}

/// An order's UUID, version 7: ids made later sort later, so inserts go to the end of every index.
package struct OrderID: Hashable, Sendable {
    package let uuid: UUID

    /// Wraps a UUID.
    package init(_ uuid: UUID) {
        self.uuid = uuid
    }

    /// The UUID in lower case, as every wire carries it.
    package var text: String { uuid.text }
}

extension UUID {
    /// The UUID in lower case, as every wire carries it.
    package var text: String {
        var digits: [UInt8] = []
        digits.reserveCapacity(36)
        digits.append(textOf: self)
        return String(decoding: digits, as: UTF8.self)
    }
}

extension [UInt8] {
    /// Appends a UUID's text; `UUID.uuidString.lowercased()` makes two strings on the way.
    package mutating func append(textOf uuid: UUID) {
        let bytes = uuid.uuid
        append(hex: bytes.0, bytes.1)
        append(hex: bytes.2, bytes.3)
        append(UInt8(ascii: "-"))
        append(hex: bytes.4, bytes.5)
        append(UInt8(ascii: "-"))
        append(hex: bytes.6, bytes.7)
        append(UInt8(ascii: "-"))
        append(hex: bytes.8, bytes.9)
        append(UInt8(ascii: "-"))
        append(hex: bytes.10, bytes.11)
        append(hex: bytes.12, bytes.13)
        append(hex: bytes.14, bytes.15)
    }

    private mutating func append(hex first: UInt8, _ second: UInt8) {
        func digit(_ nibble: UInt8) -> UInt8 {
            nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
        }
        append(digit(first >> 4))
        append(digit(first & 0xF))
        append(digit(second >> 4))
        append(digit(second & 0xF))
    }
}
