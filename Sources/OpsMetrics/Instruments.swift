import Synchronization

/// A number that only grows: how often something happened.
///
/// Safe from any thread; an increment is one atomic exchange.
package final class Counter: Sendable {
    private let bits = Atomic<UInt64>(0)

    init() {}

    /// Adds to the counter; a negative or not finite amount is ignored, since a counter never goes down.
    package func increment(by amount: Double = 1) {
        guard amount >= 0, amount.isFinite else { return }
        bits.update { $0 + amount }
    }

    /// What has been counted so far.
    package var value: Double {
        Double(bitPattern: bits.load(ordering: .relaxed))
    }
}

/// A number that goes up and down: how much there is of something now.
///
/// Safe from any thread.
package final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)

    init() {}

    /// Replaces the value.
    package func set(_ value: Double) {
        bits.store(value.bitPattern, ordering: .relaxed)
    }

    /// Adds to the value; a negative amount takes away.
    package func add(_ amount: Double) {
        bits.update { $0 + amount }
    }

    /// The value now.
    package var value: Double {
        Double(bitPattern: bits.load(ordering: .relaxed))
    }
}

/// The distribution of measured values over fixed buckets.
///
/// Safe from any thread; an observation takes a short lock, so that buckets, sum and count always agree.
package final class Histogram: Sendable {
    struct Snapshot {
        /// How many values fell in each bucket alone; the last one is above every bound.
        var counts: [UInt64]
        var sum: Double
    }

    /// The inclusive upper bounds, ascending, without infinity.
    let bounds: [Double]
    private let state: Mutex<Snapshot>

    init(bounds: [Double]) {
        self.bounds = bounds
        state = Mutex(Snapshot(counts: Array(repeating: 0, count: bounds.count + 1), sum: 0))
    }

    /// Counts one value; not-a-number is ignored.
    package func observe(_ value: Double) {
        guard !value.isNaN else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock {
            $0.counts[bucket] += 1
            $0.sum += value
        }
    }

    /// Counts one duration, in seconds.
    package func observe(_ duration: Duration) {
        observe(duration / .seconds(1))
    }

    /// How many values have been observed.
    package var count: UInt64 {
        state.withLock { $0.counts.reduce(0, +) }
    }

    /// The sum of the values observed.
    package var sum: Double {
        state.withLock { $0.sum }
    }

    func snapshot() -> Snapshot {
        state.withLock { $0 }
    }
}

extension Atomic<UInt64> {
    /// Replaces the number whose bit pattern is stored here.
    fileprivate borrowing func update(_ change: (Double) -> Double) {
        var old = load(ordering: .relaxed)
        while true {
            let new = change(Double(bitPattern: old)).bitPattern
            let (exchanged, original) = weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = original
        }
    }
}
