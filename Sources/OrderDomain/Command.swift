package import FoundationEssentials

/// What a client calls a request, so that saying it twice does it once.
package struct IdempotencyKey: Hashable, Sendable {
    /// Whose key it is; nil where the request is no user's, as in the catalogue.
    package let userID: UserID?
    package let key: String

    /// Makes a key; keys of different users are different keys.
    package init(userID: UserID?, key: String) {
        self.userID = userID
        self.key = key
    }
}

/// An idempotency key together with what it was said with.
package struct IdempotencyClaim: Hashable, Sendable {
    package let key: IdempotencyKey
    /// A digest of the request: the same key with another one is refused.
    package let fingerprint: [UInt8]

    /// Makes a claim.
    package init(key: IdempotencyKey, fingerprint: [UInt8]) {
        self.key = key
        self.fingerprint = fingerprint
    }
}

/// One product that is asked for; no two lines of a basket name the same product.
package struct BasketLine: Hashable, Sendable {
    package let productID: ProductID
    package let quantity: Quantity

    /// Makes a line.
    package init(productID: ProductID, quantity: Quantity) {
        self.productID = productID
        self.quantity = quantity
    }
}

/// An order that is wanted; its ids are made before anything is asked of a server.
package struct PlaceOrder: Hashable, Sendable {
    package let orderID: OrderID
    /// The id of the balance history's row.
    package let entryID: UUID
    package let userID: UserID
    package let lines: [BasketLine]
    package let claim: IdempotencyClaim?
    package let at: Date

    /// Makes the wish; lines of one product must have been summed.
    package init(
        orderID: OrderID,
        entryID: UUID,
        userID: UserID,
        lines: [BasketLine],
        claim: IdempotencyClaim?,
        at: Date
    ) {
        self.orderID = orderID
        self.entryID = entryID
        self.userID = userID
        self.lines = lines
        self.claim = claim
        self.at = at
    }
}

/// Money that a user brings.
package struct ChargeBalance: Hashable, Sendable {
    package let entryID: UUID
    package let userID: UserID
    package let amount: Money
    package let claim: IdempotencyClaim?
    package let at: Date

    /// Makes the wish.
    package init(entryID: UUID, userID: UserID, amount: Money, claim: IdempotencyClaim?, at: Date) {
        self.entryID = entryID
        self.userID = userID
        self.amount = amount
        self.claim = claim
        self.at = at
    }
}

/// A change of the state of an order that exists. What never changes of the order was read before the batch, so that
/// all that it touches can be locked at once; its state is read under the lock.
package struct ChangeOrder: Hashable, Sendable {
    /// What is wanted of the order.
    package enum Change: Hashable, Sendable {
        /// Money back, stock back; an order that is cancelled already stays as it is.
        case cancel
        case become(OrderStatus)
    }

    package let orderID: OrderID
    /// Whose order it is.
    package let userID: UserID
    /// What is in it.
    package let productIDs: [ProductID]
    package let change: Change
    package let reason: String?
    /// The versions in which the order may be changed (`If-Match`); nil when any will do.
    package let expectedVersions: Set<Int64>?
    /// The id of the balance history's row if there is a refund.
    package let entryID: UUID
    package let claim: IdempotencyClaim?
    package let at: Date

    /// Makes the wish.
    package init(
        of order: Order,
        change: Change,
        reason: String?,
        expectedVersions: Set<Int64>?,
        entryID: UUID,
        claim: IdempotencyClaim?,
        at: Date
    ) {
        orderID = order.id
        userID = order.userID
        productIDs = order.items.map(\.productID)
        self.change = change
        self.reason = reason
        self.expectedVersions = expectedVersions
        self.entryID = entryID
        self.claim = claim
        self.at = at
    }
}

/// Whatever changes a balance goes through one engine, so that orders, charges and refunds of one user cannot fight.
package enum Command: Hashable, Sendable {
    case placeOrder(PlaceOrder)
    case chargeBalance(ChargeBalance)
    case changeOrder(ChangeOrder)

    /// Whose balance it changes.
    package var userID: UserID {
        switch self {
        case .placeOrder(let order): order.userID
        case .chargeBalance(let charge): charge.userID
        case .changeOrder(let change): change.userID
        }
    }

    /// The idempotency key that it carries.
    package var claim: IdempotencyClaim? {
        switch self {
        case .placeOrder(let order): order.claim
        case .chargeBalance(let charge): charge.claim
        case .changeOrder(let change): change.claim
        }
    }

    /// The products whose stock it may change.
    package var productIDs: [ProductID] {
        switch self {
        case .placeOrder(let order): order.lines.map(\.productID)
        case .chargeBalance: []
        case .changeOrder(let change): change.productIDs
        }
    }

    /// The order that it changes, if it is one that exists.
    package var changedOrderID: OrderID? {
        if case .changeOrder(let change) = self { change.orderID } else { nil }
    }
}

/// A product of which there is less than was asked for.
package struct Shortage: Hashable, Sendable {
    package let productID: ProductID
    package let requested: Int64
    package let available: Int64

    /// Makes a shortage.
    package init(productID: ProductID, requested: Int64, available: Int64) {
        self.productID = productID
        self.requested = requested
        self.available = available
    }
}

/// Why a command was not carried out. A refusal is a result, not an error: it changes nothing.
package enum Refusal: Hashable, Sendable {
    case userNotFound(UserID)
    case productsNotFound([ProductID])
    case productsUnavailable([ProductID])
    case insufficientStock([Shortage])
    case insufficientBalance(balance: Money, required: Money)
    case orderNotFound(OrderID)
    case orderNotCancellable(OrderStatus)
    case invalidTransition(from: OrderStatus, to: OrderStatus)
    /// The resource is in another version than the client expects.
    case versionMismatch(current: Int64)
    /// The order's total or the new balance would not fit.
    case amountTooLarge
    /// The key was used with another request.
    case idempotencyKeyReused
}

/// What became of one command.
package enum Outcome: Hashable, Sendable {
    case ordered(Order)
    case charged(BalanceEntry)
    /// The order is now in this state; it was in it before when a cancelled order is cancelled again.
    case changed(Order)
    case refused(Refusal)
    /// The key has an answer of an earlier batch: give that again.
    case replayed(IdempotencyKey)
    /// The same key came earlier in this batch, at this index: give that answer again.
    case repeated(Int)
}
