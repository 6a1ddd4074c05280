import OrderDomain
import SeededRandom
import Testing

@Suite("Money and Quantity")
struct MoneyTests {
    private static let edges: [Int64] = [
        .min, .min + 1, -1_000_000, -1, 0, 1, 2, 999_999, 1_000_000, 1_000_000_000, .max / 2, .max / 2 + 1, .max - 1,
        .max,
    ]

    @Test("a sum or difference past either end is nil, one unit before it is not")
    func endsOfSums() {
        let (least, most) = (Money(minorUnits: .min), Money(minorUnits: .max))
        let one = Money(minorUnits: 1)
        #expect(most.adding(one) == nil)
        #expect(least.adding(Money(minorUnits: -1)) == nil)
        #expect(Money(minorUnits: .max - 1).adding(one) == most)
        #expect(least.subtracting(one) == nil)
        #expect(most.subtracting(Money(minorUnits: -1)) == nil)
        #expect(Money.zero.subtracting(least) == nil)
        #expect(Money(minorUnits: .min + 1).subtracting(one) == least)
    }

    @Test("a product past either end is nil, the last that fits is not")
    func endsOfProducts() throws {
        let two = try #require(Quantity(2))
        #expect(Money(minorUnits: .max / 2).times(two) == Money(minorUnits: .max - 1))
        #expect(Money(minorUnits: .max / 2 + 1).times(two) == nil)
        #expect(Money(minorUnits: .min / 2).times(two) == Money(minorUnits: .min))
        #expect(Money(minorUnits: .min / 2 - 1).times(two) == nil)
    }

    @Test("every operation agrees with arithmetic in 128 bits")
    func agreesWithWideArithmetic() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        for round in 0..<20_000 {
            let (left, right) = (Self.amount(&random), Self.amount(&random))
            let quantity = try #require(Quantity(1 + random.below(random.chance(50) ? 10 : 1_000_000)))
            let (wide, other) = (Int128(left), Int128(right))
            let money = Money(minorUnits: left)
            let agrees =
                money.adding(Money(minorUnits: right)) == Self.narrow(wide + other)
                && money.subtracting(Money(minorUnits: right)) == Self.narrow(wide - other)
                && money.times(quantity) == Self.narrow(wide * Int128(quantity.pieces))
                && (money < Money(minorUnits: right)) == (wide < other)
            try #require(agrees, "\(left), \(right), ×\(quantity.pieces), seed \(SplitMix64.seed), round \(round)")
        }
    }

    @Test("a quantity is 1 to 1,000,000, sums included")
    func quantityRange() throws {
        for pieces in [Int.min, -1, 0, 1_000_001, .max] {
            #expect(Quantity(pieces) == nil)
        }
        let (one, most) = (try #require(Quantity(1)), try #require(Quantity(1_000_000)))
        #expect(one.pieces == 1 && most.pieces == 1_000_000 && one < most)
        #expect(Quantity(999_999)?.adding(one) == most)
        #expect(most.adding(one) == nil)
        #expect(most.adding(most) == nil)
    }

    @Test("ids are positive")
    func identifiers() {
        for number in [Int64.min, -1, 0] {
            #expect(UserID(number) == nil && ProductID(number) == nil)
        }
        #expect(UserID(1)?.rawValue == 1 && ProductID(.max)?.rawValue == .max)
    }

    private static func amount(_ random: inout SplitMix64) -> Int64 {
        switch random.below(3) {
        case 0: edges[random.below(edges.count)]
        case 1: Int64(truncatingIfNeeded: random.next())
        default: Int64(truncatingIfNeeded: random.next()) >> Int64(random.below(64))
        }
    }

    private static func narrow(_ wide: Int128) -> Money? {
        Int64(exactly: wide).map(Money.init(minorUnits:))
    }
}
