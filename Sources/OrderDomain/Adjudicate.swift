/// What the database said about everything that a batch touches.
package struct Snapshot: Sendable {
    /// What is sold, at what price, and how much of it is left.
    package struct Shelf: Hashable, Sendable {
        package let name: String
        package let price: Money
        package let status: Product.Status
        package let stock: Int64
        package let version: Int64

        /// Makes a shelf.
        package init(name: String, price: Money, status: Product.Status, stock: Int64, version: Int64) {
            self.name = name
            self.price = price
            self.status = status
            self.stock = stock
            self.version = version
        }
    }

    /// What a user has.
    package struct Account: Hashable, Sendable {
        package let balance: Money
        package let version: Int64

        /// Makes an account.
        package init(balance: Money, version: Int64) {
            self.balance = balance
            self.version = version
        }
    }

    package let shelves: [ProductID: Shelf]
    package let accounts: [UserID: Account]
    package let orders: [OrderID: Order]
    /// The keys that have an answer, with what they were first said with.
    package let remembered: [IdempotencyKey: [UInt8]]

    /// Makes a snapshot.
    package init(
        shelves: [ProductID: Shelf],
        accounts: [UserID: Account],
        orders: [OrderID: Order],
        remembered: [IdempotencyKey: [UInt8]]
    ) {
        self.shelves = shelves
        self.accounts = accounts
        self.orders = orders
        self.remembered = remembered
    }
}

/// What a batch does: one outcome for each command, and what is to be written.
package struct Adjudication: Hashable, Sendable {
    /// A user's balance after the batch; `versionBefore` must still hold when it is written.
    package struct BalanceChange: Hashable, Sendable {
        package let userID: UserID
        package let balance: Money
        package let versionBefore: Int64
        package let versionAfter: Int64
    }

    /// A product's stock after the batch.
    package struct StockChange: Hashable, Sendable {
        package let productID: ProductID
        package let stock: Int64
        /// The product's version after the batch.
        package let version: Int64
    }

    /// A change of an order that existed before the batch.
    package struct OrderChange: Hashable, Sendable {
        /// As it is after this change.
        package let order: Order
        package let from: OrderStatus
        package let reason: String?
    }

    package var outcomes: [Outcome] = []
    /// The orders that were accepted, in the order of their commands.
    package var orders: [Order] = []
    /// The changes of orders that existed before, in the order of their commands.
    package var changes: [OrderChange] = []
    /// The new rows of the balance history, in the order of their commands.
    package var entries: [BalanceEntry] = []
    /// One a user, by id.
    package var balances: [BalanceChange] = []
    /// One a product, by id.
    package var stocks: [StockChange] = []
}

/// Decides a batch of commands in the order of their arrival, as if each were alone.
///
/// An accepted command consumes stock and balance for those behind it; a refused one consumes nothing. A pure
/// function of its arguments, so that it can be tested against a one-at-a-time oracle.
///
/// - Parameters:
///   - batch: the commands, in arrival order.
///   - snapshot: the state of every product, user and key that the batch names; what is not in it does not exist.
package func adjudicate(_ batch: [Command], _ snapshot: Snapshot) -> Adjudication {
    var bench = Bench(snapshot)
    for (index, command) in batch.enumerated() {
        bench.decide(command, at: index)
    }
    return bench.adjudication()
}

/// The state of a batch while it is being decided.
private struct Bench {
    private let snapshot: Snapshot
    private var stock: [ProductID: Int64] = [:]
    private var accounts: [UserID: Snapshot.Account] = [:]
    private var orders: [OrderID: Order] = [:]
    private var claimed: [IdempotencyKey: (index: Int, fingerprint: [UInt8])] = [:]
    private var result = Adjudication()

    init(_ snapshot: Snapshot) {
        self.snapshot = snapshot
    }

    mutating func decide(_ command: Command, at index: Int) {
        if let known = known(command.claim) {
            result.outcomes.append(known)
            return
        }
        if let claim = command.claim {
            claimed[claim.key] = (index, claim.fingerprint)
        }
        let outcome: Outcome
        switch command {
        case .placeOrder(let order): outcome = place(order)
        case .chargeBalance(let charge): outcome = self.charge(charge)
        case .changeOrder(let change): outcome = self.change(change)
        }
        result.outcomes.append(outcome)
    }

    func adjudication() -> Adjudication {
        var result = result
        result.stocks = stock.compactMap { id, stock in
            snapshot.shelves[id].map {
                Adjudication.StockChange(productID: id, stock: stock, version: $0.version + 1)
            }
        }
        .sorted { $0.productID < $1.productID }
        result.balances = accounts.compactMap { id, account in
            snapshot.accounts[id].map {
                Adjudication.BalanceChange(
                    userID: id,
                    balance: account.balance,
                    versionBefore: $0.version,
                    versionAfter: account.version
                )
            }
        }
        .sorted { $0.userID < $1.userID }
        return result
    }

    /// The outcome of a command whose key has been seen before.
    private func known(_ claim: IdempotencyClaim?) -> Outcome? {
        guard let claim else { return nil }
        if let fingerprint = snapshot.remembered[claim.key] {
            return fingerprint == claim.fingerprint ? .replayed(claim.key) : .refused(.idempotencyKeyReused)
        }
        if let earlier = claimed[claim.key] {
            return earlier.fingerprint == claim.fingerprint
                ? .repeated(earlier.index) : .refused(.idempotencyKeyReused)
        }
        return nil
    }

    private mutating func place(_ order: PlaceOrder) -> Outcome {
        guard let account = account(of: order.userID) else { return .refused(.userNotFound(order.userID)) }
        let missing = order.lines.map(\.productID).filter { snapshot.shelves[$0] == nil }
        guard missing.isEmpty else { return .refused(.productsNotFound(missing)) }
        let retired = order.lines.map(\.productID).filter { snapshot.shelves[$0]?.status == .discontinued }
        guard retired.isEmpty else { return .refused(.productsUnavailable(retired)) }
        let shortages = order.lines.compactMap(shortage)
        guard shortages.isEmpty else { return .refused(.insufficientStock(shortages)) }
        guard let (items, total) = price(order.lines) else { return .refused(.amountTooLarge) }
        guard let balance = account.balance.subtracting(total), balance >= .zero else {
            return .refused(.insufficientBalance(balance: account.balance, required: total))
        }
        let entry = BalanceEntry(
            id: order.entryID,
            userID: order.userID,
            version: account.version + 1,
            kind: .payment,
            amount: Money(minorUnits: -total.minorUnits),
            balanceAfter: balance,
            orderID: order.orderID,
            createdAt: order.at
        )
        for line in order.lines {
            stock[line.productID] = available(line.productID) - Int64(line.quantity.pieces)
        }
        append(entry)
        let accepted = Order(
            id: order.orderID,
            userID: order.userID,
            status: .paid,
            items: items,
            total: total,
            payment: Payment(status: .paid, amount: total, paidAt: order.at),
            version: 1,
            createdAt: order.at,
            updatedAt: order.at
        )
        result.orders.append(accepted)
        return .ordered(accepted)
    }

    private mutating func charge(_ charge: ChargeBalance) -> Outcome {
        guard let account = account(of: charge.userID) else { return .refused(.userNotFound(charge.userID)) }
        guard let balance = account.balance.adding(charge.amount) else { return .refused(.amountTooLarge) }
        let entry = BalanceEntry(
            id: charge.entryID,
            userID: charge.userID,
            version: account.version + 1,
            kind: .charge,
            amount: charge.amount,
            balanceAfter: balance,
            orderID: nil,
            createdAt: charge.at
        )
        append(entry)
        return .charged(entry)
    }

    private mutating func change(_ wish: ChangeOrder) -> Outcome {
        guard let order = orders[wish.orderID] ?? snapshot.orders[wish.orderID] else {
            return .refused(.orderNotFound(wish.orderID))
        }
        if let expected = wish.expectedVersions, !expected.contains(Int64(order.version)) {
            return .refused(.versionMismatch(current: Int64(order.version)))
        }
        switch wish.change {
        case .cancel:
            if order.status == .cancelled { return .changed(order) }
            guard order.status.canBecome(.cancelled) else { return .refused(.orderNotCancellable(order.status)) }
            return move(order, to: .cancelled, wish)
        case .become(let next):
            guard order.status.canBecome(next) else {
                return .refused(.invalidTransition(from: order.status, to: next))
            }
            return move(order, to: next, wish)
        }
    }

    private mutating func move(_ order: Order, to next: OrderStatus, _ wish: ChangeOrder) -> Outcome {
        if next == .cancelled {
            guard let account = account(of: order.userID) else { return .refused(.userNotFound(order.userID)) }
            guard let balance = account.balance.adding(order.total) else { return .refused(.amountTooLarge) }
            append(
                BalanceEntry(
                    id: wish.entryID,
                    userID: order.userID,
                    version: account.version + 1,
                    kind: .refund,
                    amount: order.total,
                    balanceAfter: balance,
                    orderID: order.id,
                    createdAt: wish.at
                )
            )
            for item in order.items {
                stock[item.productID] = available(item.productID) + Int64(item.quantity.pieces)
            }
        }
        let moved = order.becoming(next, at: wish.at)
        orders[order.id] = moved
        result.changes.append(Adjudication.OrderChange(order: moved, from: order.status, reason: wish.reason))
        return .changed(moved)
    }

    private mutating func append(_ entry: BalanceEntry) {
        accounts[entry.userID] = Snapshot.Account(balance: entry.balanceAfter, version: entry.version)
        result.entries.append(entry)
    }

    private func account(of user: UserID) -> Snapshot.Account? {
        accounts[user] ?? snapshot.accounts[user]
    }

    private func available(_ product: ProductID) -> Int64 {
        stock[product] ?? snapshot.shelves[product]?.stock ?? 0
    }

    private func shortage(_ line: BasketLine) -> Shortage? {
        let (requested, available) = (Int64(line.quantity.pieces), available(line.productID))
        guard requested > available else { return nil }
        return Shortage(productID: line.productID, requested: requested, available: available)
    }

    /// The items with their amounts and the total, or nil when that does not fit.
    private func price(_ lines: [BasketLine]) -> (items: [OrderItem], total: Money)? {
        var items: [OrderItem] = []
        var total = Money.zero
        for line in lines {
            guard let shelf = snapshot.shelves[line.productID],
                let amount = shelf.price.times(line.quantity),
                let sum = total.adding(amount)
            else { return nil }
            total = sum
            items.append(
                OrderItem(
                    productID: line.productID,
                    name: shelf.name,
                    quantity: line.quantity,
                    unitPrice: shelf.price,
                    amount: amount
                )
            )
        }
        return (items, total)
    }
}
