package import FoundationEssentials

/// What products are ranked by.
package enum Ranking: String, CaseIterable, Sendable {
    case quantity
    case amount
}

/// A product's place in a list.
package struct RankedProduct: Hashable, Sendable {
    package let productID: ProductID
    package let quantity: Int64
    package let amount: Money

    /// Makes a place.
    package init(productID: ProductID, quantity: Int64, amount: Money) {
        self.productID = productID
        self.quantity = quantity
        self.amount = amount
    }
}

/// What one run of the aggregator found.
package struct AggregationRun: Hashable, Sendable {
    /// Who asked for it.
    package enum Trigger: String, CaseIterable, Sendable {
        case manual
        case schedule
    }

    /// Rises with every run: the fencing number of what it publishes.
    package let id: Int64
    package let asOf: Date
    package let windowFrom: Date
    package let windowTo: Date
    package let rowsRead: Int64
    package let productsTouched: Int64

    /// Makes a run.
    package init(
        id: Int64,
        asOf: Date,
        windowFrom: Date,
        windowTo: Date,
        rowsRead: Int64,
        productsTouched: Int64
    ) {
        self.id = id
        self.asOf = asOf
        self.windowFrom = windowFrom
        self.windowTo = windowTo
        self.rowsRead = rowsRead
        self.productsTouched = productsTouched
    }
}
