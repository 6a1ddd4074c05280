import FoundationEssentials
import Logging
import Synchronization

/// The breaker and the ledger of this process's requests to the platform, for all tasks that make them.
final class Circuit: Sendable {
    private struct Shared {
        var breaker: CircuitBreaker
        var ledger = AttemptLedger()
    }

    private let shared: Mutex<Shared>
    private let logger: Logger

    init(maximumRequests: Int, logger: Logger) {
        shared = Mutex(Shared(breaker: CircuitBreaker(maximumRequests: maximumRequests)))
        self.logger = logger
    }

    var state: CircuitBreaker.State { shared.withLock { $0.breaker.state } }

    var isOpen: Bool {
        if case .open = state { true } else { false }
    }

    /// How many requests may be under way at once.
    var allowance: Int { shared.withLock { $0.breaker.allowance } }

    /// Half opens the circuit when its pause is over; whether it is not open now.
    func beginProbe() -> Bool {
        shared.withLock { $0.breaker.beginProbe(at: .now) }
    }

    /// Whether a request may be made now; half open, only a probe.
    func admits(probe: Bool) -> Bool {
        switch state {
        case .closed: true
        case .halfOpen: probe
        case .open: false
        }
    }

    /// How long no request may be made.
    var pause: Duration {
        if case .open(let end) = state { max(.zero, end - .now) } else { .zero }
    }

    func noteSuccess() {
        let isClosing = shared.withLock { shared in
            let before = shared.breaker.state
            shared.breaker.succeed()
            shared.ledger.succeeded()
            return before == .halfOpen
        }
        if isClosing { logger.notice("the platform answers again: the circuit is closed") }
    }

    /// Notes a request that failed; says what it is for its events.
    ///
    /// It doesn't count while the circuit is half open or open, nor when it opens it; and those before that opened it
    /// are taken back. Their last attempt it is only where the request before it succeeded: after another failure it
    /// may be one of an outage of which the breaker doesn't know yet.
    func noteFailure(
        of events: ArraySlice<ForwardedEvent>,
        retryAfter: Duration?,
        error: String
    ) -> DeliveryPolicy.Weight {
        let attempts = Dictionary(events.map { ($0.id, $0.attempts) }) { first, _ in first }
        let (before, after, followsSuccess) = shared.withLock { shared in
            let before = shared.breaker.state
            let followsSuccess = shared.breaker.hasSucceededLast
            if before == .closed { shared.ledger.failed(attempts) }
            let now = ContinuousClock.now
            shared.breaker.fail(at: now, retryAfter: retryAfter)
            if before == .closed, shared.breaker.state != .closed { shared.ledger.opened(at: now) }
            return (before, shared.breaker.state, followsSuccess)
        }
        if before == .closed, after != .closed {
            logger.error(
                "the platform fails: the circuit is open, and nothing is taken",
                metadata: ["error": "\(error)"]
            )
        }
        return after != .closed ? .none : followsSuccess ? .full : .withoutEnd
    }

    /// Puts right the attempts of events that come back after an outage.
    func corrected(_ events: [ForwardedEvent]) -> [ForwardedEvent] {
        let now = ContinuousClock.now
        return shared.withLock { shared in
            events.map { event in
                var event = event
                event.attempts = shared.ledger.attempts(of: event.id, saying: event.attempts, at: now)
                return event
            }
        }
    }
}
