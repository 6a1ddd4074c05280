package import FoundationEssentials

/// What is to be said of a product from now on; nil leaves as it is.
package struct ProductChanges: Hashable, Sendable {
    package var name: String?
    package var price: Money?
    package var status: Product.Status?
    /// `.some(nil)` takes it away.
    package var description: String??
    /// `.some(nil)` takes it away.
    package var category: String??

    /// Changes nothing.
    package init() {}
}

/// A change of a stock that no order made.
package struct StockAdjustment: Hashable, Sendable {
    package let id: UUID
    package let productID: ProductID
    /// Signed: negative takes away.
    package let delta: Int64
    package let reason: String
    package let stockAfter: Int64
    package let createdAt: Date

    /// Makes an adjustment.
    package init(
        id: UUID,
        productID: ProductID,
        delta: Int64,
        reason: String,
        stockAfter: Int64,
        createdAt: Date
    ) {
        self.id = id
        self.productID = productID
        self.delta = delta
        self.reason = reason
        self.stockAfter = stockAfter
        self.createdAt = createdAt
    }
}

/// Something that is sold.
package struct Product: Hashable, Sendable {
    /// Whether it can be ordered.
    package enum Status: String, CaseIterable, Sendable {
        case active = "ACTIVE"
        case discontinued = "DISCONTINUED"
    }

    package let id: ProductID
    package let name: String
    package let description: String?
    package let category: String?
    package let price: Money
    package let stock: Int64
    package let status: Status
    /// Rises with every change that a reader can see, stock included.
    package let version: Int64
    package let createdAt: Date
    package let updatedAt: Date

    /// Makes a product.
    package init(
        id: ProductID,
        name: String,
        description: String?,
        category: String?,
        price: Money,
        stock: Int64,
        status: Status,
        version: Int64,
        createdAt: Date,
        updatedAt: Date
    ) {
        self.id = id
        self.name = name
        self.description = description
        self.category = category
        self.price = price
        self.stock = stock
        self.status = status
        self.version = version
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}
