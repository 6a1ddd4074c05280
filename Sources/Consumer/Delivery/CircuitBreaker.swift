/// Stops the requests to a platform that fails, and finds out when it is back. A value: it knows no clock and no I/O.
///
/// - closed: requests are made. After ``failuresInARow``, or when half of the last ``windowSize`` failed, it opens.
/// - open: none are made, for 1, 2, 4, … 30 s, longer if the platform asks for it.
/// - half open: one is made, as a probe. If it fails the breaker is open again, for longer; if not it is closed.
///
/// Closed again, it allows one request at a time, and with each success twice as many.
struct CircuitBreaker: Sendable {
    enum State: Sendable, Equatable {
        case closed
        case open(until: ContinuousClock.Instant)
        case halfOpen
    }

    static let failuresInARow = 10
    static let windowSize = 20
    static let longestPause = Duration.seconds(30)
    /// The platform's own wish is obeyed up to here.
    static let longestRetryAfter = Duration.seconds(300)

    private(set) var state = State.closed
    /// How many requests may be under way; 1 or more.
    private(set) var allowance: Int
    private let maximumRequests: Int
    /// Whether the last request of which it was told succeeded; not before the first one.
    private(set) var hasSucceededLast = false
    private var window: [Bool] = []
    private var row = 0
    private var pause = Duration.seconds(1)

    /// Closed, with all requests allowed.
    init(maximumRequests: Int) {
        self.maximumRequests = maximumRequests
        allowance = maximumRequests
    }

    /// Notes a request that the platform answered, if only with a refusal of its content.
    mutating func succeed() {
        switch state {
        case .closed:
            hasSucceededLast = true
            note(failure: false)
            row = 0
            allowance = min(allowance * 2, maximumRequests)
        case .halfOpen:
            hasSucceededLast = true
            state = .closed
            window = []
            row = 0
            pause = .seconds(1)
            allowance = 1
        // Of a request from before: it says nothing about now.
        case .open: break
        }
    }

    /// Notes a request that failed; `retryAfter` is when the platform wants the next one.
    mutating func fail(at now: ContinuousClock.Instant, retryAfter: Duration? = nil) {
        hasSucceededLast = false
        switch state {
        case .closed:
            note(failure: true)
            row += 1
            let isMany = window.count == Self.windowSize && window.count(where: \.self) * 2 >= Self.windowSize
            if row >= Self.failuresInARow || isMany { open(at: now, retryAfter) }
        case .halfOpen:
            pause = min(pause * 2, Self.longestPause)
            open(at: now, retryAfter)
        case .open: break
        }
    }

    /// Half opens it when its pause is over; whether it is not open now.
    mutating func beginProbe(at now: ContinuousClock.Instant) -> Bool {
        if case .open(let end) = state {
            guard now >= end else { return false }
            state = .halfOpen
        }
        return true
    }

    private mutating func open(at now: ContinuousClock.Instant, _ retryAfter: Duration?) {
        state = .open(until: now + max(pause, min(retryAfter ?? .zero, Self.longestRetryAfter)))
    }

    private mutating func note(failure: Bool) {
        if window.count == Self.windowSize { window.removeFirst() }
        window.append(failure)
    }
}
