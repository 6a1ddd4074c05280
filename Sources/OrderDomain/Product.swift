package import FoundationEssentials

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
