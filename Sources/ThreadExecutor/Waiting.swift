extension Duration {
    /// This duration as a timeout for `poll(2)`: whole milliseconds, rounded up so that a wait never spins, at least 0.
    package var pollMilliseconds: Int32 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < 2_000_000 else { return Int32.max }
        let milliseconds = seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        return Int32(clamping: milliseconds)
    }
}

extension ContinuousClock.Instant {
    /// What is left until this deadline as a timeout for `poll(2)`; 0 when it has passed.
    package var pollMilliseconds: Int32 {
        ContinuousClock.now.duration(to: self).pollMilliseconds
    }

    /// Whether this deadline has passed.
    package var isPast: Bool {
        self <= ContinuousClock.now
    }
}
