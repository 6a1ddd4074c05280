package import FoundationEssentials

/// What a client may ask for in one order.
package enum OrderLimits {
    /// How many lines a basket has.
    package static let lines = 1...50
    /// How many pieces one line asks for; lines of one product are summed first.
    package static let lineQuantity = 1...1_000
    /// How much one charge may bring, in minor units.
    package static let chargeAmount: ClosedRange<Int64> = 1...1_000_000_000
    /// What a product may cost, in minor units.
    package static let price: ClosedRange<Int64> = 1...1_000_000_000
    /// How many pieces of a product there may be.
    package static let stock: ClosedRange<Int64> = 0...1_000_000_000
}

/// The states of an order.
///
/// An order is born paid, since payment is part of the transaction that makes it:
/// `PAID → PREPARING → SHIPPED → DELIVERED`, and `CANCELLED` from `PAID` or `PREPARING`.
package enum OrderStatus: String, CaseIterable, Sendable {
    case paid = "PAID"
    case preparing = "PREPARING"
    case shipped = "SHIPPED"
    case delivered = "DELIVERED"
    case cancelled = "CANCELLED"

    /// The states that may follow this one.
    package var successors: Set<OrderStatus> {
        switch self {
        case .paid: [.preparing, .cancelled]
        case .preparing: [.shipped, .cancelled]
        case .shipped: [.delivered]
        case .delivered, .cancelled: []
        }
    }

    /// Whether an order in this state may go to `next`.
    package func canBecome(_ next: OrderStatus) -> Bool {
        successors.contains(next)
    }
}

/// One product in an order, with the name and the price it was sold at.
package struct OrderItem: Hashable, Sendable {
    package let productID: ProductID
    package let name: String
    package let quantity: Quantity
    package let unitPrice: Money
    package let amount: Money

    /// Makes an item; `amount` is `unitPrice × quantity`.
    package init(productID: ProductID, name: String, quantity: Quantity, unitPrice: Money, amount: Money) {
        self.productID = productID
        self.name = name
        self.quantity = quantity
        self.unitPrice = unitPrice
        self.amount = amount
    }
}

/// The payment of an order, taken from the user's balance.
package struct Payment: Hashable, Sendable {
    /// Whether the money is here or was given back.
    package enum Status: String, CaseIterable, Sendable {
        case paid = "PAID"
        case refunded = "REFUNDED"
    }

    package let status: Status
    package let amount: Money
    package let paidAt: Date

    /// Makes a payment.
    package init(status: Status, amount: Money, paidAt: Date) {
        self.status = status
        self.amount = amount
        self.paidAt = paidAt
    }
}

/// An order as a whole.
package struct Order: Hashable, Sendable {
    package let id: OrderID
    package let userID: UserID
    package let status: OrderStatus
    package let items: [OrderItem]
    package let total: Money
    package let payment: Payment
    /// Rises by one with every change of state, from 1; the sequence of the order's events.
    package let version: Int
    package let createdAt: Date
    package let updatedAt: Date

    /// Makes an order.
    package init(
        id: OrderID,
        userID: UserID,
        status: OrderStatus,
        items: [OrderItem],
        total: Money,
        payment: Payment,
        version: Int,
        createdAt: Date,
        updatedAt: Date
    ) {
        self.id = id
        self.userID = userID
        self.status = status
        self.items = items
        self.total = total
        self.payment = payment
        self.version = version
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}
