/// An amount in the currency's minor unit; arithmetic is checked and never traps.
///
/// Jumun keeps one currency, ``currency``; the won has no smaller unit, so one is one won.
package struct Money: Hashable, Comparable, Sendable {
    /// The ISO 4217 code of every amount.
    package static let currency = "KRW"
    /// Nothing.
    package static let zero = Money(minorUnits: 0)

    /// The amount in minor units; may be negative where a change is meant (a payment in the balance history).
    package let minorUnits: Int64

    /// Wraps an amount in minor units.
    package init(minorUnits: Int64) {
        self.minorUnits = minorUnits
    }

    /// The sum, or nil when it does not fit 64 bits.
    package func adding(_ other: Money) -> Money? {
        let (sum, overflow) = minorUnits.addingReportingOverflow(other.minorUnits)
        return overflow ? nil : Money(minorUnits: sum)
    }

    /// The difference, or nil when it does not fit 64 bits.
    package func subtracting(_ other: Money) -> Money? {
        let (difference, overflow) = minorUnits.subtractingReportingOverflow(other.minorUnits)
        return overflow ? nil : Money(minorUnits: difference)
    }

    /// The price of `quantity` pieces, or nil when it does not fit 64 bits.
    package func times(_ quantity: Quantity) -> Money? {
        let (product, overflow) = minorUnits.multipliedReportingOverflow(by: Int64(quantity.pieces))
        return overflow ? nil : Money(minorUnits: product)
    }

    package static func < (left: Money, right: Money) -> Bool {
        left.minorUnits < right.minorUnits
    }
}
