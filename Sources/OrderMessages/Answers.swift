package import FoundationEssentials
package import OrderDomain

/// A user as the API gives it.
package struct UserAnswer: Encodable, Sendable {
    let id: Int64
    let name: String
    let email: String
    let balance: Int64
    let currency: String
    let createdAt: String

    /// Writes a user.
    package init(_ user: User) {
        id = user.id.rawValue
        name = user.name
        email = user.email
        balance = user.balance.minorUnits
        currency = Money.currency
        createdAt = user.createdAt.rfc3339
    }
}

/// `GET /v1/users/{id}/balance`
package struct BalanceAnswer: Encodable, Sendable {
    let userId: Int64
    let balance: Int64
    let currency: String
    let version: Int64
    let updatedAt: String

    /// Writes a user's balance.
    package init(_ user: User) {
        userId = user.id.rawValue
        balance = user.balance.minorUnits
        currency = Money.currency
        version = user.version
        updatedAt = user.updatedAt.rfc3339
    }
}

/// One row of the balance history; also what a charge answers.
package struct BalanceEntryAnswer: FieldTable {
    private let entry: BalanceEntry

    /// Writes an entry.
    package init(_ entry: BalanceEntry) {
        self.entry = entry
    }

    /// The same bytes as ``encoded(_:)``, sooner.
    package var json: String { JSONText.string(of: self) }

    /// Writes every field, in alphabetical order.
    package func write<Writer: FieldWriter>(to fields: inout Writer) throws(Writer.Failure) {
        try fields.integer("amount", entry.amount.minorUnits)
        try fields.integer("balanceAfter", entry.balanceAfter.minorUnits)
        try fields.time("createdAt", entry.createdAt)
        try fields.uuid("id", entry.id)
        if let order = entry.orderID { try fields.uuid("orderId", order.uuid) }
        try fields.text("type", entry.kind.rawValue)
        try fields.integer("userId", entry.userID.rawValue)
    }
}

/// A product as the API gives it.
package struct ProductAnswer: Encodable, Sendable {
    let id: Int64
    let name: String
    let description: String?
    let category: String?
    let price: Int64
    let currency: String
    let stock: Int64
    let status: String
    let createdAt: String
    let updatedAt: String

    /// Writes a product.
    package init(_ product: Product) {
        id = product.id.rawValue
        name = product.name
        description = product.description
        category = product.category
        price = product.price.minorUnits
        currency = Money.currency
        stock = product.stock
        status = product.status.rawValue
        createdAt = product.createdAt.rfc3339
        updatedAt = product.updatedAt.rfc3339
    }
}

/// `POST /v1/products/{id}/stock-adjustments`
package struct StockAdjustmentAnswer: Encodable, Sendable {
    let id: String
    let productId: Int64
    let delta: Int64
    let reason: String
    let stockAfter: Int64
    let createdAt: String

    /// Writes an adjustment.
    package init(_ adjustment: StockAdjustment) {
        id = adjustment.id.text
        productId = adjustment.productID.rawValue
        delta = adjustment.delta
        reason = adjustment.reason
        stockAfter = adjustment.stockAfter
        createdAt = adjustment.createdAt.rfc3339
    }
}

/// `GET /v1/orders/{id}/history`: from the placing on, in order.
package struct OrderHistoryAnswer: Encodable, Sendable {
    struct Entry: Encodable, Sendable {
        private enum CodingKeys: String, CodingKey {
            case version, from, to, reason, changedAt
        }

        let version: Int
        let from: String?
        let to: String
        let reason: String?
        let changedAt: String

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(version, forKey: .version)
            // Null where there is none: the first entry has no state before it.
            try container.encode(from, forKey: .from)
            try container.encode(to, forKey: .to)
            try container.encode(reason, forKey: .reason)
            try container.encode(changedAt, forKey: .changedAt)
        }
    }

    let data: [Entry]

    /// Writes a history.
    package init(_ history: [OrderTransition]) {
        data = history.map {
            Entry(
                version: $0.version,
                from: $0.from?.rawValue,
                to: $0.to.rawValue,
                reason: $0.reason,
                changedAt: $0.at.rfc3339
            )
        }
    }
}

/// An order as the API gives it, and as its events carry it.
package struct OrderAnswer: FieldTable {
    private struct Item: FieldTable {
        let item: OrderItem

        func write<Writer: FieldWriter>(to fields: inout Writer) throws(Writer.Failure) {
            try fields.integer("amount", item.amount.minorUnits)
            try fields.text("name", item.name)
            try fields.integer("productId", item.productID.rawValue)
            try fields.integer("quantity", Int64(item.quantity.pieces))
            try fields.integer("unitPrice", item.unitPrice.minorUnits)
        }
    }

    private struct PaymentPart: FieldTable {
        let payment: Payment

        func write<Writer: FieldWriter>(to fields: inout Writer) throws(Writer.Failure) {
            try fields.integer("amount", payment.amount.minorUnits)
            try fields.time("paidAt", payment.paidAt)
            try fields.text("status", payment.status.rawValue)
        }
    }

    private let order: Order

    /// Writes an order.
    package init(_ order: Order) {
        self.order = order
    }

    /// The same bytes as ``encoded(_:)``, sooner.
    package var json: String { JSONText.string(of: self) }

    /// Writes every field, in alphabetical order.
    package func write<Writer: FieldWriter>(to fields: inout Writer) throws(Writer.Failure) {
        try fields.time("createdAt", order.createdAt)
        try fields.text("currency", Money.currency)
        try fields.uuid("id", order.id.uuid)
        try fields.objects("items", order.items.lazy.map(Item.init))
        try fields.object("payment", PaymentPart(payment: order.payment))
        try fields.text("status", order.status.rawValue)
        try fields.integer("totalAmount", order.total.minorUnits)
        try fields.time("updatedAt", order.updatedAt)
        try fields.integer("userId", order.userID.rawValue)
    }
}

/// A page of a list; `nextCursor` is null on the last one.
package struct ListAnswer<Element: Encodable & Sendable>: Encodable, Sendable {
    private enum CodingKeys: String, CodingKey {
        case data
        case nextCursor
    }

    let data: [Element]
    let nextCursor: String?

    /// Writes a page.
    package init(_ data: [Element], nextCursor: String?) {
        self.data = data
        self.nextCursor = nextCursor
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(data, forKey: .data)
        // Written as null, never left out: a reader need not tell "last page" from "no such field".
        try container.encode(nextCursor, forKey: .nextCursor)
    }
}

/// `GET /v1/products/popular`
package struct PopularAnswer: Encodable, Sendable {
    /// Where the answer came from.
    package enum Source: String, Encodable, Sendable {
        case redis
        case postgres
    }

    /// One product of the list.
    package struct Entry: Encodable, Sendable {
        let rank: Int
        let productId: Int64
        let name: String
        let price: Int64
        let quantity: Int64
        let amount: Int64

        /// Writes a place in the list.
        package init(rank: Int, productID: ProductID, name: String, price: Money, quantity: Int64, amount: Money) {
            self.rank = rank
            productId = productID.rawValue
            self.name = name
            self.price = price.minorUnits
            self.quantity = quantity
            self.amount = amount.minorUnits
        }
    }

    struct Window: Encodable, Sendable {
        let from: String
        let to: String
        let days: Int
    }

    let window: Window
    let asOf: String
    package let stale: Bool
    let source: Source
    let data: [Entry]

    /// Writes the list; `from` to `to` is the window that was counted, `asOf` when.
    package init(from: Date, to: Date, asOf: Date, stale: Bool, source: Source, data: [Entry]) {
        window = Window(from: from.rfc3339, to: to.rfc3339, days: 3)
        self.asOf = asOf.rfc3339
        self.stale = stale
        self.source = source
        self.data = data
    }
}

/// Writes a body with the library's coder: UTF-8, fields in alphabetical order, so that the same answer has the same
/// bytes.
package func encoded(_ answer: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(answer), as: UTF8.self)
}
