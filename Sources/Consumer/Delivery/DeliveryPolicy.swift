import EventTopology

/// What became of one request to the data platform.
enum RequestOutcome: Sendable, Equatable {
    /// The platform answered; `message` is the beginning of its body.
    case answered(status: Int, retryAfter: Duration?, message: String)
    /// There was no answer: no connection, or it broke.
    case networkFailure(String)
    /// There was no answer in time.
    case timedOut

    /// The platform's status, if it answered.
    var status: Int? {
        if case .answered(let status, _, _) = self { status } else { nil }
    }

    /// One line for logs and dead letters.
    var summary: String {
        switch self {
        case .answered(let status, _, let message): "status \(status) \(message)"
        case .networkFailure(let reason): "no answer: \(reason)"
        case .timedOut: "no answer in time"
        }
    }
}

/// Decides what a request's outcome means, and what is done with an event then.
enum DeliveryPolicy {
    /// What the outcome says about the events of the request.
    enum Verdict: Sendable, Equatable {
        case delivered
        /// One of them at least will never be taken.
        case refused
        /// It may pass by itself.
        case failed
        /// The platform says when to come back.
        case postponed(Duration)
    }

    /// What a failure is for the events of the request.
    enum Weight: Sendable {
        /// No attempt: the platform is away.
        case none
        /// An attempt, but not the last one: the platform may be away.
        case withoutEnd
        /// An attempt, and perhaps the last one.
        case full
    }

    /// What is done with an event that was not delivered.
    enum Next: Sendable, Equatable {
        /// Try again after `tierMs`, one of `BrokerNames.retryTiersMs`; `attempts` have failed.
        case retry(tierMs: Int, attempts: Int)
        /// It goes to the dead letters after so many attempts.
        case deadLetter(attempts: Int)
    }

    /// The attempts that an event has; the waits between them make about nine minutes.
    static let maximumAttempts = 10
    /// From this many deaths of a consumer with it in hand on, an event is handled alone.
    static let suspiciousCrashes = 4
    /// From this many on it goes to the dead letters unread; the limit that the queue has too.
    static let maximumCrashes = 20
    /// Where an event waits that was moved aside through no fault of its own.
    static let asideTierMs = BrokerNames.retryTiersMs[0]

    /// What a request's outcome means.
    ///
    /// A 401 is about our signature, and never about an event: it is a failure of the platform's, not a refusal.
    static func verdict(on outcome: RequestOutcome) -> Verdict {
        switch outcome {
        case .answered(200..<300, _, _): .delivered
        case .answered(429, let retryAfter?, _), .answered(503, let retryAfter?, _): .postponed(retryAfter)
        case .answered(401, _, _), .answered(408, _, _), .answered(425, _, _), .answered(429, _, _),
            .answered(500..., _, _), .networkFailure, .timedOut:
            .failed
        case .answered: .refused
        }
    }

    /// What is done after a failure with an event of which `attempts` have failed before.
    static func afterFailure(attempts: Int, _ weight: Weight) -> Next {
        if weight == .none { return .retry(tierMs: asideTierMs, attempts: attempts) }
        let failed = min(max(attempts, 0), maximumAttempts) + 1
        let tiers = BrokerNames.retryTiersMs
        if failed < maximumAttempts {
            return .retry(tierMs: tiers[min(failed, tiers.count) - 1], attempts: failed)
        }
        return weight == .full
            ? .deadLetter(attempts: failed) : .retry(tierMs: tiers[tiers.count - 1], attempts: attempts)
    }

    /// The shortest tier that obeys the platform; beyond the longest one it comes too early, and is told again.
    static func tier(noShorterThan delay: Duration) -> Int {
        let tiers = BrokerNames.retryTiersMs
        return tiers.first { .milliseconds($0) >= delay } ?? tiers[tiers.count - 1]
    }

    /// How long to wait before an event is given back to a broker that does not take it elsewhere.
    ///
    /// The queue counts how often it got the event back (`x-delivery-limit`), so the waits grow.
    static func pauseBeforeGivingBack(deliveryCount: Int) -> Duration {
        .seconds(min(max(deliveryCount, 0) + 1, 30))
    }
}
