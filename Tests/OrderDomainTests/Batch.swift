import FoundationEssentials
import OrderDomain

/// A small shop and the commands that are sent to it, with ids that a test can foretell.
///
/// Ids of users and products are given as plain numbers; those of orders and history rows count up with the commands.
struct Batch {
    static let time = Date(timeIntervalSince1970: 1_800_000_000)

    var shelves: [ProductID: Snapshot.Shelf] = [:]
    var accounts: [UserID: Snapshot.Account] = [:]
    var orders: [OrderID: Order] = [:]
    var remembered: [IdempotencyKey: [UInt8]] = [:]
    private(set) var commands: [Command] = []

    var snapshot: Snapshot {
        Snapshot(shelves: shelves, accounts: accounts, orders: orders, remembered: remembered)
    }
    var adjudication: Adjudication { adjudicate(commands, snapshot) }

    static func user(_ number: Int) -> UserID {
        guard let id = UserID(Int64(number)) else { preconditionFailure("users are numbered from 1") }
        return id
    }

    static func product(_ number: Int) -> ProductID {
        guard let id = ProductID(Int64(number)) else { preconditionFailure("products are numbered from 1") }
        return id
    }

    static func orderID(_ index: Int) -> OrderID { OrderID(uuid(1, index)) }

    static func entryID(_ index: Int) -> UUID { uuid(2, index) }

    static func line(_ product: Int, _ pieces: Int) -> BasketLine {
        guard let quantity = Quantity(pieces) else { preconditionFailure("a quantity is 1 to 1,000,000") }
        return BasketLine(productID: Batch.product(product), quantity: quantity)
    }

    static func claim(_ user: Int, _ key: String, _ fingerprint: UInt8) -> IdempotencyClaim {
        IdempotencyClaim(key: IdempotencyKey(userID: Batch.user(user), key: key), fingerprint: [fingerprint])
    }

    mutating func shelf(_ product: Int, price: Int64, stock: Int64, _ status: Product.Status = .active) {
        shelves[Batch.product(product)] = Snapshot.Shelf(
            name: "Product \(product)",
            price: Money(minorUnits: price),
            status: status,
            stock: stock,
            version: Int64(product)
        )
    }

    mutating func account(_ user: Int, balance: Int64, version: Int64 = 0) {
        accounts[Batch.user(user)] = Snapshot.Account(balance: Money(minorUnits: balance), version: version)
    }

    mutating func remember(_ claim: IdempotencyClaim) {
        remembered[claim.key] = claim.fingerprint
    }

    mutating func order(_ user: Int, _ lines: [BasketLine], _ claim: IdempotencyClaim? = nil) {
        commands.append(
            .placeOrder(
                PlaceOrder(
                    orderID: Batch.orderID(commands.count),
                    entryID: Batch.entryID(commands.count),
                    userID: Batch.user(user),
                    lines: lines,
                    claim: claim,
                    at: Batch.time + Double(commands.count)
                )
            )
        )
    }

    mutating func charge(_ user: Int, _ amount: Int64, _ claim: IdempotencyClaim? = nil) {
        commands.append(
            .chargeBalance(
                ChargeBalance(
                    entryID: Batch.entryID(commands.count),
                    userID: Batch.user(user),
                    amount: Money(minorUnits: amount),
                    claim: claim,
                    at: Batch.time + Double(commands.count)
                )
            )
        )
    }

    /// An order of an earlier batch, of things that cost 100 each.
    mutating func placed(_ number: Int, by user: Int, _ lines: [BasketLine], _ status: OrderStatus) {
        let total = Money(minorUnits: lines.reduce(0) { $0 + Int64($1.quantity.pieces) * 100 })
        let order = Order(
            id: Batch.placedID(number),
            userID: Batch.user(user),
            status: status,
            items: lines.map {
                OrderItem(
                    productID: $0.productID,
                    name: "Then",
                    quantity: $0.quantity,
                    unitPrice: Money(minorUnits: 100),
                    amount: Money(minorUnits: Int64($0.quantity.pieces) * 100)
                )
            },
            total: total,
            payment: Payment(status: status == .cancelled ? .refunded : .paid, amount: total, paidAt: Batch.time - 60),
            version: 1 + (number % 3),
            createdAt: Batch.time - 60,
            updatedAt: Batch.time - 30
        )
        orders[order.id] = order
    }

    static func placedID(_ number: Int) -> OrderID { OrderID(uuid(3, number)) }

    mutating func change(
        _ number: Int,
        _ change: ChangeOrder.Change,
        expecting versions: Set<Int64>? = nil,
        _ claim: IdempotencyClaim? = nil
    ) {
        // Whoever asks has read the order; one that is not there is asked for by a stranger's guess.
        var asked = self
        if asked.orders[Batch.placedID(number)] == nil { asked.placed(number, by: 1, [Batch.line(1, 1)], .paid) }
        guard let order = asked.orders[Batch.placedID(number)] else { return }
        commands.append(
            .changeOrder(
                ChangeOrder(
                    of: order,
                    change: change,
                    reason: "reason \(commands.count)",
                    expectedVersions: versions,
                    entryID: Batch.entryID(commands.count),
                    claim: claim,
                    at: Batch.time + Double(commands.count)
                )
            )
        )
    }

    private static func uuid(_ kind: UInt8, _ index: Int) -> UUID {
        let (high, low) = (UInt8(truncatingIfNeeded: index >> 8), UInt8(truncatingIfNeeded: index))
        return UUID(uuid: (kind, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, high, low))
    }
}
