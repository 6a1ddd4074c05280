import FoundationEssentials
import OrderDomain
import Testing

@Suite("Adjudication")
struct AdjudicateTests {
    /// Two users, three products on sale, one that is not any more, one that costs too much to be counted.
    private static func shop() -> Batch {
        var batch = Batch()
        batch.account(1, balance: 10_000, version: 7)
        batch.account(2, balance: 500)
        batch.shelf(1, price: 100, stock: 10)
        batch.shelf(2, price: 2_500, stock: 3)
        batch.shelf(3, price: 7, stock: 1_000_000)
        batch.shelf(4, price: 1, stock: 5, .discontinued)
        batch.shelf(5, price: .max, stock: 5)
        return batch
    }

    private func isOrdered(_ outcome: Outcome) -> Bool {
        if case .ordered = outcome { true } else { false }
    }

    /// Nothing is written, whatever was answered.
    private func expectNoEffect(_ result: Adjudication, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(result.orders.isEmpty && result.entries.isEmpty, sourceLocation: sourceLocation)
        #expect(result.balances.isEmpty && result.stocks.isEmpty, sourceLocation: sourceLocation)
    }

    @Test("an empty batch does nothing")
    func emptyBatch() {
        let result = Self.shop().adjudication
        #expect(result.outcomes.isEmpty)
        expectNoEffect(result)
    }

    @Test("an accepted order is written in full")
    func acceptedOrder() throws {
        var batch = Self.shop()
        batch.order(1, [Batch.line(2, 2), Batch.line(1, 3)])
        let result = batch.adjudication

        let order = try #require(result.orders.first)
        #expect(result.outcomes == [.ordered(order)] && result.orders.count == 1)
        #expect(order.id == Batch.orderID(0) && order.userID == Batch.user(1) && order.status == .paid)
        #expect(order.version == 1 && order.createdAt == Batch.time && order.updatedAt == Batch.time)
        #expect(order.total == Money(minorUnits: 5_300))
        #expect(order.payment == Payment(status: .paid, amount: order.total, paidAt: Batch.time))
        #expect(order.items.map(\.productID) == [Batch.product(2), Batch.product(1)])
        #expect(order.items.map(\.name) == ["Product 2", "Product 1"])
        #expect(order.items.map(\.quantity.pieces) == [2, 3])
        #expect(order.items.map(\.unitPrice.minorUnits) == [2_500, 100])
        #expect(order.items.map(\.amount.minorUnits) == [5_000, 300])

        let entry = BalanceEntry(
            id: Batch.entryID(0),
            userID: Batch.user(1),
            version: 8,
            kind: .payment,
            amount: Money(minorUnits: -5_300),
            balanceAfter: Money(minorUnits: 4_700),
            orderID: Batch.orderID(0),
            createdAt: Batch.time
        )
        #expect(result.entries == [entry])
        let balance = try #require(result.balances.first)
        #expect(result.balances.count == 1 && balance.userID == Batch.user(1))
        #expect(balance.balance.minorUnits == 4_700 && balance.versionBefore == 7 && balance.versionAfter == 8)
        #expect(result.stocks.map(\.productID) == [Batch.product(1), Batch.product(2)])
        #expect(result.stocks.map(\.stock) == [7, 1])
    }

    @Test("a charge is written in full")
    func acceptedCharge() throws {
        var batch = Self.shop()
        batch.charge(2, 1_500)
        let result = batch.adjudication
        let entry = BalanceEntry(
            id: Batch.entryID(0),
            userID: Batch.user(2),
            version: 1,
            kind: .charge,
            amount: Money(minorUnits: 1_500),
            balanceAfter: Money(minorUnits: 2_000),
            orderID: nil,
            createdAt: Batch.time
        )
        #expect(result.outcomes == [.charged(entry)] && result.entries == [entry])
        #expect(result.orders.isEmpty && result.stocks.isEmpty)
        let balance = try #require(result.balances.first)
        #expect(balance.balance.minorUnits == 2_000 && balance.versionBefore == 0 && balance.versionAfter == 1)
    }

    @Test(
        "each refusal names what was wrong and changes nothing",
        arguments: [
            (9, [(1, 1)], Refusal.userNotFound(Batch.user(9))),
            (1, [(1, 1), (8, 1), (9, 1)], .productsNotFound([Batch.product(8), Batch.product(9)])),
            (1, [(4, 1), (1, 1)], .productsUnavailable([Batch.product(4)])),
            (
                1, [(1, 11), (3, 1), (2, 4)],
                .insufficientStock([
                    Shortage(productID: Batch.product(1), requested: 11, available: 10),
                    Shortage(productID: Batch.product(2), requested: 4, available: 3),
                ])
            ),
            (1, [(5, 2)], .amountTooLarge),
            (1, [(5, 1), (1, 1)], .amountTooLarge),
            (
                2, [(1, 5), (3, 1)],
                .insufficientBalance(balance: Money(minorUnits: 500), required: Money(minorUnits: 507))
            ),
            (
                2, [(5, 1)],
                .insufficientBalance(balance: Money(minorUnits: 500), required: Money(minorUnits: .max))
            ),
        ]
    )
    func refusals(user: Int, lines: [(Int, Int)], refusal: Refusal) {
        var batch = Self.shop()
        batch.order(user, lines.map { Batch.line($0.0, $0.1) })
        let result = batch.adjudication
        #expect(result.outcomes == [.refused(refusal)])
        expectNoEffect(result)
    }

    @Test("of several reasons the first is told: user, missing, discontinued, stock, amount, balance")
    func precedence() {
        // The basket has every fault; each line that is left out lets the next reason come forward.
        let faults = [(9, 1), (4, 9), (1, 11), (5, 2)]
        var batch = Self.shop()
        batch.order(9, faults.map { Batch.line($0.0, $0.1) })
        for first in 0...3 {
            batch.order(2, faults[first...].map { Batch.line($0.0, $0.1) })
        }
        batch.order(2, [Batch.line(5, 1)])
        let expected: [Refusal] = [
            .userNotFound(Batch.user(9)),
            .productsNotFound([Batch.product(9)]),
            .productsUnavailable([Batch.product(4)]),
            .insufficientStock([Shortage(productID: Batch.product(1), requested: 11, available: 10)]),
            .amountTooLarge,
            .insufficientBalance(balance: Money(minorUnits: 500), required: Money(minorUnits: .max)),
        ]
        let result = batch.adjudication
        #expect(result.outcomes == expected.map(Outcome.refused))
        expectNoEffect(result)
    }

    @Test("a charge is refused to a stranger, and where the balance would not fit")
    func refusedCharges() {
        var batch = Self.shop()
        batch.account(3, balance: .max - 10)
        batch.charge(9, 1)
        batch.charge(3, 11)
        let result = batch.adjudication
        #expect(result.outcomes == [.refused(.userNotFound(Batch.user(9))), .refused(.amountTooLarge)])
        expectNoEffect(result)
        batch.charge(3, 10)
        #expect(batch.adjudication.balances.map(\.balance.minorUnits) == [.max])
    }

    @Test("a refused order leaves its stock and its money to those behind it")
    func refusalConsumesNothing() {
        var batch = Self.shop()
        // All of product 1, but one piece too many of product 2.
        batch.order(1, [Batch.line(1, 10), Batch.line(2, 4)])
        // All of product 1, but more than this user has.
        batch.order(2, [Batch.line(1, 10)])
        batch.order(1, [Batch.line(1, 10), Batch.line(2, 3)])
        let result = batch.adjudication
        #expect(result.outcomes.map(isOrdered) == [false, false, true])
        #expect(result.stocks.map(\.stock) == [0, 0])
        #expect(result.balances.map(\.userID) == [Batch.user(1)])
        #expect(result.entries.map(\.version) == [8])
    }

    @Test("the last pieces go to whoever came first")
    func lastPieces() {
        var batch = Self.shop()
        for user in [3, 4, 5, 6, 7] { batch.account(user, balance: 100_000) }
        for (user, pieces) in [(3, 4), (4, 5), (5, 2), (6, 1), (7, 1)] { batch.order(user, [Batch.line(1, pieces)]) }
        let result = batch.adjudication
        #expect(result.outcomes.map(isOrdered) == [true, true, false, true, false])
        let product = Batch.product(1)
        #expect(
            result.outcomes[2]
                == .refused(.insufficientStock([Shortage(productID: product, requested: 2, available: 1)]))
        )
        #expect(
            result.outcomes[4]
                == .refused(.insufficientStock([Shortage(productID: product, requested: 1, available: 0)]))
        )
        #expect(result.stocks.map(\.stock) == [0])
        #expect(result.orders.map(\.userID) == [3, 4, 6].map(Batch.user))
    }

    @Test("orders and charges of one user follow each other in one history")
    func oneUsersHistory() {
        var batch = Self.shop()
        batch.order(2, [Batch.line(1, 5)])
        batch.order(2, [Batch.line(3, 1)])
        batch.charge(2, 200)
        batch.order(2, [Batch.line(3, 10)])
        batch.charge(2, 1)
        let result = batch.adjudication
        #expect(
            result.outcomes[1]
                == .refused(.insufficientBalance(balance: .zero, required: Money(minorUnits: 7)))
        )
        #expect(result.entries.map(\.version) == [1, 2, 3, 4])
        #expect(result.entries.map(\.amount.minorUnits) == [-500, 200, -70, 1])
        #expect(result.entries.map(\.balanceAfter.minorUnits) == [0, 200, 130, 131])
        #expect(result.balances.map(\.versionBefore) == [0] && result.balances.map(\.versionAfter) == [4])
    }

    @Test("a key of an earlier batch is answered again, and refused with another request")
    func rememberedKeys() {
        var batch = Self.shop()
        batch.remember(Batch.claim(1, "a", 1))
        batch.order(1, [Batch.line(1, 1)], Batch.claim(1, "a", 1))
        batch.charge(1, 5, Batch.claim(1, "a", 1))
        batch.order(1, [Batch.line(1, 1)], Batch.claim(1, "a", 2))
        // Even the answer that a stranger or an empty shelf got is given again.
        batch.order(9, [Batch.line(9, 1)], Batch.claim(1, "a", 1))
        let key = Batch.claim(1, "a", 1).key
        let result = batch.adjudication
        #expect(
            result.outcomes == [
                .replayed(key), .replayed(key), .refused(.idempotencyKeyReused), .replayed(key),
            ]
        )
        expectNoEffect(result)
    }

    @Test("a key said twice in a batch is done once; every repetition points to the first")
    func repeatedKeys() {
        var batch = Self.shop()
        batch.charge(2, 100)
        batch.order(1, [Batch.line(1, 1)], Batch.claim(1, "a", 1))
        batch.order(1, [Batch.line(1, 1)], Batch.claim(1, "a", 1))
        batch.order(1, [Batch.line(1, 2)], Batch.claim(1, "a", 2))
        batch.charge(1, 2, Batch.claim(1, "a", 3))
        batch.order(1, [Batch.line(1, 1)], Batch.claim(1, "a", 1))
        let result = batch.adjudication
        #expect(isOrdered(result.outcomes[1]))
        #expect(
            result.outcomes[2...] == [
                .repeated(1), .refused(.idempotencyKeyReused), .refused(.idempotencyKeyReused), .repeated(1),
            ]
        )
        #expect(result.stocks.map(\.stock) == [9] && result.orders.count == 1 && result.entries.count == 2)
    }

    @Test("a refusal holds its key too: the repetition is not tried again")
    func repeatedRefusal() {
        var batch = Self.shop()
        batch.order(2, [Batch.line(1, 6)], Batch.claim(2, "a", 1))
        batch.charge(2, 100)
        batch.order(2, [Batch.line(1, 6)], Batch.claim(2, "a", 1))
        let result = batch.adjudication
        #expect(result.outcomes[2] == .repeated(0))
        #expect(result.orders.isEmpty && result.stocks.isEmpty)
    }

    @Test("one key of two users is two keys, and without a key everything is done each time")
    func independentKeys() {
        var batch = Self.shop()
        batch.charge(1, 1, Batch.claim(1, "a", 1))
        batch.charge(2, 1, Batch.claim(2, "a", 1))
        batch.charge(2, 1)
        batch.charge(2, 1)
        #expect(batch.adjudication.entries.map(\.balanceAfter.minorUnits) == [10_001, 501, 502, 503])
    }

    @Test("what is written is sorted by id, each user and product once")
    func sortedChanges() {
        var batch = Batch()
        for number in [5, 3, 9, 1, 7] {
            batch.account(number, balance: 100)
            batch.shelf(number, price: 1, stock: 10)
        }
        for user in [9, 1, 5, 9] { batch.order(user, [Batch.line(7, 1), Batch.line(user, 1), Batch.line(3, 1)]) }
        let result = batch.adjudication
        #expect(result.balances.map(\.userID.rawValue) == [1, 5, 9])
        #expect(result.stocks.map(\.productID.rawValue) == [1, 3, 5, 7, 9])
        #expect(result.stocks.map(\.stock) == [9, 6, 9, 6, 8])
    }
}
