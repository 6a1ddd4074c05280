/// How long to wait before the next attempt: exponential, capped, with equal jitter.
///
/// The n-th delay is drawn from the upper half of `min(cap, base × 2ⁿ)`, so that attempts spread out but never come
/// at once ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015: the "equal jitter" variant).
/// A value, not a sleeper: the caller waits.
package struct Backoff: Sendable {
    /// The ceiling of the first delay.
    package let base: Duration
    /// The ceiling of every delay.
    package let cap: Duration
    /// How many delays have been drawn since the last ``reset()``.
    package private(set) var attempts = 0

    /// Creates a backoff that has not been used yet.
    ///
    /// - Parameters:
    ///   - base: the ceiling of the first delay; more than zero.
    ///   - cap: the ceiling of every delay; at least `base`.
    package init(base: Duration, cap: Duration) {
        precondition(base > .zero && cap >= base, "a backoff needs 0 < base <= cap")
        self.base = base
        self.cap = cap
    }

    /// The next delay; each call counts as one more attempt.
    package mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        // 2^30 × base is past every sensible cap, and short of overflow.
        let ceiling = min(cap, base * (1 << min(attempts, 30)))
        attempts += 1
        return ceiling * Double.random(in: 0.5...1, using: &generator)
    }

    /// The next delay, drawn from the system's generator.
    package mutating func next() -> Duration {
        var generator = SystemRandomNumberGenerator()
        return next(using: &generator)
    }

    /// Starts over after a success.
    package mutating func reset() {
        attempts = 0
    }
}
