import EventTopology

/// What became of one request to the data platform.
enum RequestOutcome: Sendable, Equatable {
    /// The platform answered; `message` is the beginning of its body.
    case answered(status: Int, retryAfter: Duration?, message: String)
    /// There was no answer: no connection, or it broke.
    case networkFailure(String)
    /// There was no answer in time.
    case timedOut
}

/// Decides what to do with an event after a request.
enum DeliveryPolicy {
    enum Verdict: Sendable, Equatable {
        case delivered
        /// Try again after `tierMs`, one of `BrokerNames.retryTiersMs`.
        case retry(tierMs: Int, countsAsAttempt: Bool)
        /// Trying again would change nothing.
        case deadLetter(reason: String)
    }

    /// The verdict about an event of which `attempts` requests have failed before this one.
    ///
    /// What may pass by itself is tried again for ever, the longest tier again and again: an outage of the platform
    /// must not turn events into dead letters. A platform that says when to come back is obeyed, and that is no failed
    /// attempt of the event's.
    static func verdict(on outcome: RequestOutcome, attempts: Int) -> Verdict {
        switch outcome {
        case .answered(200..<300, _, _):
            .delivered
        case .answered(429, let retryAfter?, _), .answered(503, let retryAfter?, _):
            .retry(tierMs: tier(noShorterThan: retryAfter), countsAsAttempt: false)
        case .answered(408, _, _), .answered(425, _, _), .answered(429, _, _), .answered(500..., _, _),
            .networkFailure, .timedOut:
            .retry(tierMs: tier(afterAttempts: attempts), countsAsAttempt: true)
        case .answered:
            .deadLetter(reason: "the platform refused it")
        }
    }

    /// How long to wait before an event is given back to a broker that does not take it elsewhere.
    ///
    /// The queue counts how often it got the event back (`x-delivery-limit`), so the waits grow.
    static func pauseBeforeGivingBack(deliveryCount: Int) -> Duration {
        .seconds(min(max(deliveryCount, 0) + 1, 30))
    }

    private static func tier(afterAttempts attempts: Int) -> Int {
        let tiers = BrokerNames.retryTiersMs
        return tiers[min(max(attempts, 0), tiers.count - 1)]
    }

    private static func tier(noShorterThan delay: Duration) -> Int {
        let tiers = BrokerNames.retryTiersMs
        return tiers.first { .milliseconds($0) >= delay } ?? tiers[tiers.count - 1]
    }
}
