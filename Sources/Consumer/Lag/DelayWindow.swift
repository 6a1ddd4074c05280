import Foundation

/// The distribution of the delays of the last minutes. A value.
///
/// Delays are counted in buckets that each reach 2^¼ times as far as the one before, so a quantile is right within a
/// fifth; and in slices of time, of which the oldest is dropped when a new one begins.
struct DelayWindow: Sendable {
    static let slice = Duration.seconds(15)
    static let slices = 20
    private static let bucketsAnOctave = 4.0
    private static let buckets = 120

    /// What the window covers, in seconds.
    static let seconds = Int(slice.components.seconds) * slices

    private var counts: [[Int]] = []
    private var sliceBegan: ContinuousClock.Instant?

    /// Counts a delay in milliseconds.
    mutating func add(_ delayMs: Double, at now: ContinuousClock.Instant) {
        roll(to: now)
        counts[counts.count - 1][Self.bucket(delayMs)] += 1
    }

    /// How many delays there are in the window.
    mutating func count(at now: ContinuousClock.Instant) -> Int {
        roll(to: now)
        return counts.reduce(0) { $0 + $1.reduce(0, +) }
    }

    /// The delay that the share `quantile` of all does not exceed, in milliseconds; nil when there are none.
    mutating func quantile(_ quantile: Double, at now: ContinuousClock.Instant) -> Double? {
        let total = count(at: now)
        guard total > 0 else { return nil }
        let rank = max(1, Int((quantile * Double(total)).rounded(.up)))
        var seen = 0
        for bucket in 0..<Self.buckets {
            seen += counts.reduce(0) { $0 + $1[bucket] }
            if seen >= rank { return Self.upperBoundMs(bucket) }
        }
        return Self.upperBoundMs(Self.buckets - 1)
    }

    private mutating func roll(to now: ContinuousClock.Instant) {
        let began = sliceBegan ?? now
        let passed = Int(began.duration(to: now) / Self.slice)
        if sliceBegan == nil || passed > 0 {
            for _ in 0..<min(max(passed, 1), Self.slices) { counts.append(Array(repeating: 0, count: Self.buckets)) }
            counts.removeFirst(max(0, counts.count - Self.slices))
            sliceBegan = began + Self.slice * passed
        }
    }

    private static func bucket(_ delayMs: Double) -> Int {
        guard delayMs > 1 else { return 0 }
        return min(buckets - 1, Int((log2(delayMs) * bucketsAnOctave).rounded(.up)))
    }

    private static func upperBoundMs(_ bucket: Int) -> Double {
        exp2(Double(bucket) / bucketsAnOctave)
    }
}
