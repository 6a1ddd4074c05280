/// Says how long to wait so that no more than so many messages a second are sent.
///
/// A delay of up to the bucket's size is made up for; a longer pause is not, so that it does not end in a burst.
struct TokenBucket {
    /// How much of a second is kept for later at most.
    private static let depth = Duration.milliseconds(100)

    /// How many messages to send at once: a tenth of a second's share, so that they are spread evenly.
    let batch: Int
    private let interval: Duration
    /// When the next message is due.
    private var due: ContinuousClock.Instant?

    /// - Parameter perSecond: at least 1.
    init(perSecond: Int) {
        batch = min(max(1, perSecond / 10), RedriveRun.maximumBatch)
        interval = .seconds(1) / max(1, perSecond)
    }

    /// How long to wait from now before `count` messages may be sent.
    mutating func take(_ count: Int, at now: ContinuousClock.Instant) -> Duration {
        let start = max(due ?? now, now - Self.depth)
        due = start + interval * count
        return max(.zero, start - now)
    }
}
