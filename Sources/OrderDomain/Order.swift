package import FoundationEssentials

/// What a client may ask for in one order.
package enum OrderLimits {
    /// How long the reason of a change may be, in characters.
    package static let reason = 1...500
    /// How much one adjustment may change a stock.
    package static let stockDelta: ClosedRange<Int64> = -1_000_000_000...1_000_000_000
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

/// One change of an order's state.
package struct OrderTransition: Hashable, Sendable {
    package let orderID: OrderID
    /// The order's version after it, from 1.
    package let version: Int
    /// The state before; nil when it is the placing of the order.
    package let from: OrderStatus?
    package let to: OrderStatus
    package let reason: String?
    package let at: Date

    /// Makes a transition.
    package init(orderID: OrderID, version: Int, from: OrderStatus?, to: OrderStatus, reason: String?, at: Date) {
        self.orderID = orderID
        self.version = version
        self.from = from
        self.to = to
        self.reason = reason
        self.at = at
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

extension Order {
    /// This order in another state, one version on; a cancelled one has its money back.
    package func becoming(_ next: OrderStatus, at now: Date) -> Order {
        Order(
            id: id,
            userID: userID,
            status: next,
            items: items,
            total: total,
            payment: next == .cancelled
                ? Payment(status: .refunded, amount: payment.amount, paidAt: payment.paidAt) : payment,
            version: version + 1,
            createdAt: createdAt,
            // A clock that went back must not make an order older than itself.
            updatedAt: max(now, updatedAt)
        )
    }
}
