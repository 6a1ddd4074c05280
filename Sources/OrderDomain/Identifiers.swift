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
    package var text: String { uuid.uuidString.lowercased() }
}
