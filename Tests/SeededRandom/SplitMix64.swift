import FoundationEssentials

/// A small seeded generator ("Fast Splittable Pseudorandom Number Generators", Steele, Lea and Flood, 2014).
package struct SplitMix64: RandomNumberGenerator {
    /// The seed of this run: `JUMUN_SEED` where it is set, so that a failure can be seen again.
    package static let seed: UInt64 =
        ProcessInfo.processInfo.environment["JUMUN_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64.max)

    private var state: UInt64

    /// The same seed gives the same numbers.
    package init(seed: UInt64) {
        state = seed
    }

    /// The next 64 bits.
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `count - 1`; the bias is far below what a test could see.
    package mutating func below(_ count: Int) -> Int {
        Int(next() % UInt64(count))
    }

    /// True in so many of a hundred cases.
    package mutating func chance(_ percent: Int) -> Bool {
        below(100) < percent
    }
}
