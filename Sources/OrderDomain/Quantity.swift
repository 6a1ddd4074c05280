/// How many pieces of a product: a whole number from 1 to 1,000,000.
package struct Quantity: Hashable, Comparable, Sendable {
    /// What a quantity may be; a client's single line is held to ``OrderLimits/lineQuantity``.
    package static let range = 1...1_000_000

    /// The number of pieces.
    package let pieces: Int

    /// A quantity, or nil when `pieces` is out of ``range``.
    package init?(_ pieces: Int) {
        guard Quantity.range.contains(pieces) else { return nil }
        self.pieces = pieces
    }

    /// The sum, or nil when it leaves ``range``.
    package func adding(_ other: Quantity) -> Quantity? {
        Quantity(pieces + other.pieces)
    }

    package static func < (left: Quantity, right: Quantity) -> Bool {
        left.pieces < right.pieces
    }
}
