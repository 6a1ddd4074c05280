import FoundationEssentials
import OrderDomain

/// The oracle: the same shop served one customer at a time, over plain dictionaries and in 128 bits.
///
/// It shares no code and no shape with `adjudicate`: state is changed on the spot, and amounts cannot overflow.
struct OneAtATimeShop {
    private enum Answer {
        case ofEarlierBatch
        case ofCommand(Int)
    }

    private let snapshot: Snapshot
    private(set) var stock: [ProductID: Int128]
    private(set) var balance: [UserID: Int128]
    private(set) var version: [UserID: Int64]
    private(set) var orders: [OrderID: Order]
    private var answers: [IdempotencyKey: (answer: Answer, fingerprint: [UInt8])]

    init(_ snapshot: Snapshot) {
        self.snapshot = snapshot
        stock = snapshot.shelves.mapValues { Int128($0.stock) }
        balance = snapshot.accounts.mapValues { Int128($0.balance.minorUnits) }
        orders = snapshot.orders
        version = snapshot.accounts.mapValues(\.version)
        answers = snapshot.remembered.mapValues { (.ofEarlierBatch, $0) }
    }

    mutating func serve(_ command: Command, number: Int) -> Outcome {
        if let claim = command.claim {
            if let earlier = answers[claim.key] {
                if earlier.fingerprint != claim.fingerprint { return .refused(.idempotencyKeyReused) }
                switch earlier.answer {
                case .ofEarlierBatch: return .replayed(claim.key)
                case .ofCommand(let first): return .repeated(first)
                }
            }
            answers[claim.key] = (.ofCommand(number), claim.fingerprint)
        }
        switch command {
        case .placeOrder(let order): return sell(order)
        case .chargeBalance(let charge): return take(charge)
        case .changeOrder(let change): return alter(change)
        }
    }

    private mutating func sell(_ order: PlaceOrder) -> Outcome {
        guard let money = balance[order.userID] else { return .refused(.userNotFound(order.userID)) }
        var missing: [ProductID] = []
        var retired: [ProductID] = []
        var short: [Shortage] = []
        var items: [OrderItem] = []
        var total: Int128 = 0
        for line in order.lines {
            let wanted = Int128(line.quantity.pieces)
            guard let shelf = snapshot.shelves[line.productID], let left = stock[line.productID] else {
                missing.append(line.productID)
                continue
            }
            if shelf.status == .discontinued { retired.append(line.productID) }
            if left < wanted {
                short.append(Shortage(productID: line.productID, requested: Int64(wanted), available: Int64(left)))
            }
            let amount = Int128(shelf.price.minorUnits) * wanted
            total += amount
            items.append(
                OrderItem(
                    productID: line.productID,
                    name: shelf.name,
                    quantity: line.quantity,
                    unitPrice: shelf.price,
                    amount: Money(minorUnits: Int64(clamping: amount))
                )
            )
        }
        if !missing.isEmpty { return .refused(.productsNotFound(missing)) }
        if !retired.isEmpty { return .refused(.productsUnavailable(retired)) }
        if !short.isEmpty { return .refused(.insufficientStock(short)) }
        guard let price = Int64(exactly: total) else { return .refused(.amountTooLarge) }
        if money < total {
            let has = Money(minorUnits: Int64(clamping: money))
            return .refused(.insufficientBalance(balance: has, required: Money(minorUnits: price)))
        }
        for line in order.lines { stock[line.productID, default: 0] -= Int128(line.quantity.pieces) }
        balance[order.userID, default: 0] -= total
        version[order.userID, default: 0] += 1
        return .ordered(receipt(order, items, Money(minorUnits: price)))
    }

    private mutating func take(_ charge: ChargeBalance) -> Outcome {
        guard let money = balance[charge.userID] else { return .refused(.userNotFound(charge.userID)) }
        guard let after = Int64(exactly: money + Int128(charge.amount.minorUnits)) else {
            return .refused(.amountTooLarge)
        }
        balance[charge.userID] = Int128(after)
        version[charge.userID, default: 0] += 1
        return .charged(
            BalanceEntry(
                id: charge.entryID,
                userID: charge.userID,
                version: version[charge.userID, default: 0],
                kind: .charge,
                amount: charge.amount,
                balanceAfter: Money(minorUnits: after),
                orderID: nil,
                createdAt: charge.at
            )
        )
    }

    /// The rules as a table: where an order may go from where it is.
    private static let ways: [OrderStatus: [OrderStatus]] = [
        .paid: [.preparing, .cancelled], .preparing: [.shipped, .cancelled], .shipped: [.delivered],
    ]

    private mutating func alter(_ wish: ChangeOrder) -> Outcome {
        guard let order = orders[wish.orderID] else { return .refused(.orderNotFound(wish.orderID)) }
        if let versions = wish.expectedVersions, !versions.contains(Int64(order.version)) {
            return .refused(.versionMismatch(current: Int64(order.version)))
        }
        let ways = Self.ways[order.status] ?? []
        let next: OrderStatus
        switch wish.change {
        case .cancel where order.status == .cancelled: return .changed(order)
        case .cancel where !ways.contains(.cancelled): return .refused(.orderNotCancellable(order.status))
        case .cancel: next = .cancelled
        case .become(let status) where !ways.contains(status):
            return .refused(.invalidTransition(from: order.status, to: status))
        case .become(let status): next = status
        }
        if next == .cancelled {
            guard let money = balance[order.userID] else { return .refused(.userNotFound(order.userID)) }
            let after = money + Int128(order.total.minorUnits)
            if after > Int128(Int64.max) { return .refused(.amountTooLarge) }
            balance[order.userID] = after
            version[order.userID, default: 0] += 1
            for item in order.items { stock[item.productID, default: 0] += Int128(item.quantity.pieces) }
        }
        let payment = Payment(
            status: next == .cancelled ? .refunded : order.payment.status,
            amount: order.payment.amount,
            paidAt: order.payment.paidAt
        )
        let changed = Order(
            id: order.id,
            userID: order.userID,
            status: next,
            items: order.items,
            total: order.total,
            payment: payment,
            version: order.version + 1,
            createdAt: order.createdAt,
            updatedAt: wish.at > order.updatedAt ? wish.at : order.updatedAt
        )
        orders[order.id] = changed
        return .changed(changed)
    }

    private func receipt(_ order: PlaceOrder, _ items: [OrderItem], _ total: Money) -> Order {
        Order(
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
    }
}
