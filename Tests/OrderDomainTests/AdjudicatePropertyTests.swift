import FoundationEssentials
import OrderDomain
import SeededRandom
import Testing

@Suite("Adjudication against one customer at a time")
struct AdjudicatePropertyTests {
    private static let batches = 100_000

    @Test("100,000 random batches of 1 to 40 commands end as if each command had been alone")
    func agreesWithOracle() async throws {
        // Two halves at once, for the time that it takes; batch n is the same in any split.
        let halves = [0..<Self.batches / 2, Self.batches / 2..<Self.batches]
        let seen = try await withThrowingTaskGroup(of: [String: Int].self) { group in
            for half in halves {
                group.addTask { @concurrent in try Self.check(half) }
            }
            return try await group.reduce(into: [:]) { $0.merge($1, uniquingKeysWith: +) }
        }
        // What never came up was never tested.
        for kind in OutcomeKind.allCases {
            #expect(seen[kind.rawValue, default: 0] >= 500, "\(kind), seed \(SplitMix64.seed)")
        }
    }

    private static func check(_ numbers: Range<Int>) throws -> [String: Int] {
        var seen: [String: Int] = [:]
        for number in numbers {
            var random = SplitMix64(seed: SplitMix64.seed &+ UInt64(number) &* 0xA24B_AED4_963E_E407)
            let batch = Batch.random(&random)
            let result = batch.adjudication
            if let fault = fault(in: result, batch) {
                Issue.record("\(fault), batch \(number) of JUMUN_SEED=\(SplitMix64.seed): \(batch)")
                throw CancellationError()
            }
            for outcome in result.outcomes { seen[OutcomeKind(outcome).rawValue, default: 0] += 1 }
        }
        return seen
    }

    /// The first thing that is wrong with a result.
    private static func fault(in result: Adjudication, _ batch: Batch) -> String? {
        guard result.outcomes.count == batch.commands.count else { return "not one outcome for each command" }
        var shop = OneAtATimeShop(batch.snapshot)
        for (number, command) in batch.commands.enumerated() {
            let expected = shop.serve(command, number: number)
            guard result.outcomes[number] == expected else {
                return "command \(number) became \(result.outcomes[number]), not \(expected)"
            }
        }
        return faultInState(result, batch, shop) ?? faultInHistory(result, batch) ?? faultInOrders(result, batch)
            ?? faultInChanges(result, batch, shop)
    }

    /// Stock and balances are those of the oracle, and only what changed is written, in order.
    private static func faultInState(_ result: Adjudication, _ batch: Batch, _ shop: OneAtATimeShop) -> String? {
        var stock = batch.shelves.mapValues { Int128($0.stock) }
        for change in result.stocks { stock[change.productID] = Int128(change.stock) }
        guard stock == shop.stock else { return "stock is \(stock), not \(shop.stock)" }
        guard result.stocks.allSatisfy({ $0.stock >= 0 }) else { return "negative stock" }
        let moving = result.orders + result.changes.map(\.order).filter { $0.status == .cancelled }
        let touched = Set(moving.flatMap { $0.items.map(\.productID) })
        guard result.stocks.map(\.productID) == touched.sorted() else { return "stock of what did not move is written" }
        guard result.stocks.allSatisfy({ batch.shelves[$0.productID]?.version == $0.version - 1 }) else {
            return "a product's version does not rise by one"
        }

        var balance = batch.accounts.mapValues { Int128($0.balance.minorUnits) }
        for change in result.balances { balance[change.userID] = Int128(change.balance.minorUnits) }
        guard balance == shop.balance else { return "balances are \(balance), not \(shop.balance)" }
        guard balance.values.allSatisfy({ $0 >= 0 }) else { return "negative balance" }
        let moved = Set(result.entries.map(\.userID))
        guard result.balances.map(\.userID) == moved.sorted() else { return "a balance that did not move is written" }
        for change in result.balances {
            guard change.versionBefore == batch.accounts[change.userID]?.version,
                change.versionAfter == shop.version[change.userID]
            else { return "versions of \(change.userID)" }
        }
        return nil
    }

    /// Each user's new rows go on from the snapshot without a gap, to the balance that is written.
    private static func faultInHistory(_ result: Adjudication, _ batch: Batch) -> String? {
        var last = batch.accounts
        for entry in result.entries {
            guard let before = last[entry.userID] else { return "an entry of a stranger" }
            guard entry.version == before.version + 1 else { return "a gap in the history of \(entry.userID)" }
            guard before.balance.adding(entry.amount) == entry.balanceAfter else { return "balanceAfter of \(entry)" }
            last[entry.userID] = Snapshot.Account(balance: entry.balanceAfter, version: entry.version)
        }
        for change in result.balances {
            let end = Snapshot.Account(balance: change.balance, version: change.versionAfter)
            guard last[change.userID] == end else { return "the history of \(change.userID) ends elsewhere" }
        }
        let charged = result.outcomes.compactMap { if case .charged(let entry) = $0 { entry } else { nil } }
        guard charged == result.entries.filter({ $0.kind == .charge }) else { return "charges and entries differ" }
        return nil
    }

    /// Orders that existed end in the oracle's state, by changes that follow each other.
    private static func faultInChanges(_ result: Adjudication, _ batch: Batch, _ shop: OneAtATimeShop) -> String? {
        var orders = batch.orders
        for change in result.changes {
            guard let before = orders[change.order.id], before.status == change.from,
                before.version + 1 == change.order.version
            else { return "change \(change) does not follow" }
            orders[change.order.id] = change.order
        }
        return orders == shop.orders ? nil : "orders are \(orders), not \(shop.orders)"
    }

    /// Every order adds up, has its payment, and took from the shelves what it sold.
    private static func faultInOrders(_ result: Adjudication, _ batch: Batch) -> String? {
        let ordered = result.outcomes.compactMap { if case .ordered(let order) = $0 { order } else { nil } }
        guard ordered == result.orders else { return "orders and outcomes differ" }
        let payments = result.entries.filter { $0.kind == .payment }
        guard payments.map(\.orderID) == result.orders.map(\.id) else { return "not one payment for each order" }
        var taken: [ProductID: Int128] = [:]
        let refunds = result.entries.filter { $0.kind == .refund }
        let cancelled = result.changes.map(\.order).filter { $0.status == .cancelled }
        guard refunds.map(\.orderID) == cancelled.map(\.id), refunds.map(\.amount) == cancelled.map(\.total) else {
            return "not one refund for each cancelled order"
        }
        for item in cancelled.flatMap(\.items) { taken[item.productID, default: 0] -= Int128(item.quantity.pieces) }
        for (order, payment) in zip(result.orders, payments) {
            let sum = order.items.reduce(Int128(0)) { $0 + Int128($1.amount.minorUnits) }
            guard sum == Int128(order.total.minorUnits), order.payment.amount == order.total,
                payment.amount.minorUnits == -order.total.minorUnits, payment.userID == order.userID
            else { return "order \(order) does not add up" }
            for item in order.items { taken[item.productID, default: 0] += Int128(item.quantity.pieces) }
        }
        for change in result.stocks {
            let before = batch.shelves[change.productID].map { Int128($0.stock) }
            guard before == Int128(change.stock) + taken[change.productID, default: 0] else { return "lost stock" }
        }
        let change = result.balances.reduce(Int128(0)) {
            $0 + Int128($1.balance.minorUnits) - Int128(batch.accounts[$1.userID]?.balance.minorUnits ?? 0)
        }
        guard change == result.entries.reduce(Int128(0), { $0 + Int128($1.amount.minorUnits) }) else {
            return "money appeared or vanished"
        }
        return nil
    }
}

/// What kinds of outcome the random batches must have brought up.
private enum OutcomeKind: String, CaseIterable {
    case ordered, charged, changed, orderNotFound, orderNotCancellable, invalidTransition, versionMismatch
    case replayed, repeated, userNotFound, productsNotFound, productsUnavailable
    case insufficientStock, insufficientBalance, amountTooLarge, idempotencyKeyReused

    init(_ outcome: Outcome) {
        self =
            switch outcome {
            case .ordered: .ordered
            case .charged: .charged
            case .changed: .changed
            case .refused(.orderNotFound): .orderNotFound
            case .refused(.orderNotCancellable): .orderNotCancellable
            case .refused(.invalidTransition): .invalidTransition
            case .refused(.versionMismatch): .versionMismatch
            case .replayed: .replayed
            case .repeated: .repeated
            case .refused(.userNotFound): .userNotFound
            case .refused(.productsNotFound): .productsNotFound
            case .refused(.productsUnavailable): .productsUnavailable
            case .refused(.insufficientStock): .insufficientStock
            case .refused(.insufficientBalance): .insufficientBalance
            case .refused(.amountTooLarge): .amountTooLarge
            case .refused(.idempotencyKeyReused): .idempotencyKeyReused
            }
    }
}

extension Batch {
    /// A few users and products that everyone fights for, with all that can be wrong.
    fileprivate static func random(_ random: inout SplitMix64) -> Batch {
        var batch = Batch()
        for product in 1...5 where random.chance(93) {
            let status: Product.Status = random.chance(8) ? .discontinued : .active
            batch.shelf(product, price: price(&random), stock: stock(&random), status)
        }
        for user in 1...3 where random.chance(95) {
            batch.account(user, balance: balance(&random), version: Int64(random.below(100)))
        }
        for number in 0..<5 where random.chance(90) {
            let products = basket(&random).filter { batch.shelves[$0.productID] != nil }
            guard !products.isEmpty else { continue }
            batch.placed(number, by: 1 + random.below(3), products, OrderStatus.allCases[random.below(5)])
        }
        for _ in 0..<random.below(3) {
            batch.remember(claim(&random))
        }
        for _ in 0..<1 + random.below(40) {
            let (user, key) = (1 + random.below(3), random.chance(25) ? claim(&random) : nil)
            if random.chance(25) {
                batch.charge(user, charge(&random), key)
            } else if random.chance(25) {
                let change: ChangeOrder.Change =
                    random.chance(50) ? .cancel : .become(OrderStatus.allCases[random.below(5)])
                let versions: Set<Int64>? = random.chance(15) ? [Int64(1 + random.below(3))] : nil
                batch.change(random.below(5), change, expecting: versions, key)
            } else {
                batch.order(user, basket(&random), key)
            }
        }
        return batch
    }

    private static func basket(_ random: inout SplitMix64) -> [BasketLine] {
        let first = random.below(5)
        return (0..<1 + random.below(random.chance(50) ? 2 : 5)).map {
            line(1 + (first + $0) % 5, random.chance(2) ? 1_000_000 : 1 + random.below(6))
        }
    }

    private static func claim(_ random: inout SplitMix64) -> IdempotencyClaim {
        claim(1 + random.below(3), "key \(random.below(4))", UInt8(random.below(3)))
    }

    private static func price(_ random: inout SplitMix64) -> Int64 {
        random.chance(8) ? .max >> Int64(random.below(8)) : 1 + Int64(random.below(1_000))
    }

    private static func stock(_ random: inout SplitMix64) -> Int64 {
        random.chance(10) ? 1_000_000_000 : Int64(random.below(40))
    }

    private static func balance(_ random: inout SplitMix64) -> Int64 {
        random.chance(10) ? .max - Int64(random.below(5_000)) : Int64(random.below(20_000))
    }

    private static func charge(_ random: inout SplitMix64) -> Int64 {
        random.chance(5) ? .max >> Int64(random.below(4)) : 1 + Int64(random.below(5_000))
    }
}
