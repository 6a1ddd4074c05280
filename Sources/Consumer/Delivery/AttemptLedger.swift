import DequeModule
import FoundationEssentials

/// Takes back the attempts that were counted in what turned out to be an outage. A value: it knows no clock.
///
/// Only when the breaker opens is it known that the failures before were not the events' own: those of the requests
/// that opened it. The events are in retry tiers by then, with a count too high; it is put right when they come back.
/// Those that come back to another consumer are forgotten after ``forgivenTime``.
struct AttemptLedger: Sendable {
    /// The most events that are remembered; for a further one the oldest is forgotten, and its count stays as it is.
    static let maximumForgiven = 50_000
    /// How long an event is remembered: an outage and the backlog after it may keep it waiting for so long.
    static let forgivenTime = Duration.seconds(86_400)

    private struct Forgiven {
        let attempts: Int
        let at: ContinuousClock.Instant
    }

    /// The last requests, as many as the breaker looks at: the events of each that failed, and their count before.
    private var requests: [[UUID: Int]] = []
    private var forgiven: [UUID: Forgiven] = [:]
    /// The same in the order in which they are to be forgotten, with some that have come back meanwhile.
    private var ages: Deque<(id: UUID, at: ContinuousClock.Instant)> = []

    /// How many events are remembered.
    var count: Int { forgiven.count }

    /// Notes a request that succeeded.
    mutating func succeeded() {
        add([:])
    }

    /// Notes the events of a request that failed, with the attempts that had failed before it.
    mutating func failed(_ events: [UUID: Int]) {
        add(events)
    }

    /// The breaker has opened: none of the failures that it looked at counts.
    mutating func opened(at now: ContinuousClock.Instant) {
        forget(before: now - Self.forgivenTime)
        for events in requests {
            for (id, attempts) in events { forgive(id, attempts, at: now) }
        }
        requests = []
    }

    /// The attempts that count of an event whose header says `attempts`.
    mutating func attempts(of id: UUID, saying attempts: Int, at now: ContinuousClock.Instant) -> Int {
        forget(before: now - Self.forgivenTime)
        guard let before = forgiven.removeValue(forKey: id) else { return attempts }
        return min(before.attempts, attempts)
    }

    private mutating func forgive(_ id: UUID, _ attempts: Int, at now: ContinuousClock.Instant) {
        // An event may have failed several times: what it had before the first counts.
        if let known = forgiven[id] {
            forgiven[id] = Forgiven(attempts: min(known.attempts, attempts), at: known.at)
            return
        }
        if ages.count == Self.maximumForgiven { forgetOldest() }
        forgiven[id] = Forgiven(attempts: attempts, at: now)
        ages.append((id, now))
    }

    private mutating func forget(before time: ContinuousClock.Instant) {
        while let oldest = ages.first, oldest.at < time { forgetOldest() }
    }

    private mutating func forgetOldest() {
        guard let oldest = ages.popFirst(), forgiven[oldest.id]?.at == oldest.at else { return }
        forgiven[oldest.id] = nil
    }

    private mutating func add(_ events: [UUID: Int]) {
        if requests.count == CircuitBreaker.windowSize { requests.removeFirst() }
        requests.append(events)
    }
}
