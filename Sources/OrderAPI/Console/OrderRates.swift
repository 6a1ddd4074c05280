/// How fast orders come, over the last seconds. A value.
struct OrderRates {
    /// A second's share; nil is what there was none of.
    struct Rates: Encodable, Sendable, Equatable {
        var acceptedPerSecond = 0.0
        var refusedPerSecond = 0.0
        var failedPerSecond = 0.0
        /// Commands in one transaction, on average; nil when there was none.
        var batchSize: Double?

        private enum CodingKeys: CodingKey {
            case acceptedPerSecond, refusedPerSecond, failedPerSecond, batchSize
        }

        func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(acceptedPerSecond, forKey: .acceptedPerSecond)
            try fields.encode(refusedPerSecond, forKey: .refusedPerSecond)
            try fields.encode(failedPerSecond, forKey: .failedPerSecond)
            try fields.encode(batchSize, forKey: .batchSize)
        }
    }

    /// Long enough to be calm, short enough to be now.
    private static let window = Duration.seconds(5)

    private var samples: [(at: ContinuousClock.Instant, counts: CommitCounts)] = []

    /// Takes what has been counted up to now, and says how fast it grew.
    mutating func add(_ counts: CommitCounts, at now: ContinuousClock.Instant) -> Rates {
        samples.append((now, counts))
        // The first one is as old as the window, or a little older.
        while samples.count > 2, samples[1].at.duration(to: now) >= Self.window { samples.removeFirst() }
        let first = samples[0]
        let seconds = first.at.duration(to: now) / .seconds(1)
        guard seconds > 0 else { return Rates() }
        let batches = counts.batches - first.counts.batches
        return Rates(
            acceptedPerSecond: (counts.accepted - first.counts.accepted) / seconds,
            refusedPerSecond: (counts.refused - first.counts.refused) / seconds,
            failedPerSecond: (counts.failed - first.counts.failed) / seconds,
            batchSize: batches > 0 ? (counts.commands - first.counts.commands) / batches : nil
        )
    }
}
