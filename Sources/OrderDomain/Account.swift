package import FoundationEssentials

/// Someone who buys.
package struct User: Hashable, Sendable {
    package let id: UserID
    package let name: String
    package let email: String
    package let balance: Money
    /// How many rows the user's balance history has.
    package let version: Int64
    package let createdAt: Date
    /// When the balance last changed.
    package let updatedAt: Date

    /// Makes a user.
    package init(
        id: UserID,
        name: String,
        email: String,
        balance: Money,
        version: Int64,
        createdAt: Date,
        updatedAt: Date
    ) {
        self.id = id
        self.name = name
        self.email = email
        self.balance = balance
        self.version = version
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}

/// One change of a user's balance.
package struct BalanceEntry: Hashable, Sendable {
    /// Why the balance changed.
    package enum Kind: String, CaseIterable, Sendable {
        case charge = "CHARGE"
        case payment = "PAYMENT"
        case refund = "REFUND"
    }

    package let id: UUID
    package let userID: UserID
    /// The entry's place in the user's history, from 1 without a gap.
    package let version: Int64
    package let kind: Kind
    /// Signed: a payment is negative.
    package let amount: Money
    package let balanceAfter: Money
    package let orderID: OrderID?
    package let createdAt: Date

    /// Makes an entry.
    package init(
        id: UUID,
        userID: UserID,
        version: Int64,
        kind: Kind,
        amount: Money,
        balanceAfter: Money,
        orderID: OrderID?,
        createdAt: Date
    ) {
        self.id = id
        self.userID = userID
        self.version = version
        self.kind = kind
        self.amount = amount
        self.balanceAfter = balanceAfter
        self.orderID = orderID
        self.createdAt = createdAt
    }
}
