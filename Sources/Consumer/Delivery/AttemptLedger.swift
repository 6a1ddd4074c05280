import FoundationEssentials

/// Takes back the attempts that were counted in what turned out to be an outage. A value.
///
/// Only when the breaker opens is it known that the failures before were not the events' own: those of the requests
/// that opened it. The events are in retry tiers by then, with a count too high; it is put right when they come back.
struct AttemptLedger: Sendable {
    /// The most events that are remembered; of more the count stays as it is.
    static let maximumForgiven = 50_000

    /// The last requests, as many as the breaker looks at: the events of each that failed, and their count before.
    private var requests: [[UUID: Int]] = []
    private var forgiven: [UUID: Int] = [:]

    /// Notes a request that succeeded.
    mutating func succeeded() {
        add([:])
    }

    /// Notes the events of a request that failed, with the attempts that had failed before it.
    mutating func failed(_ events: [UUID: Int]) {
        add(events)
    }

    /// The breaker has opened: none of the failures that it looked at counts.
    mutating func opened() {
        for events in requests {
            for (id, attempts) in events where forgiven.count < Self.maximumForgiven {
                // An event may have failed several times: what it had before the first counts.
                forgiven[id] = min(forgiven[id] ?? attempts, attempts)
            }
        }
        requests = []
    }

    /// The attempts that count of an event whose header says `attempts`.
    mutating func attempts(of id: UUID, saying attempts: Int) -> Int {
        guard !forgiven.isEmpty, let before = forgiven.removeValue(forKey: id) else { return attempts }
        return min(before, attempts)
    }

    private mutating func add(_ events: [UUID: Int]) {
        if requests.count == CircuitBreaker.windowSize { requests.removeFirst() }
        requests.append(events)
    }
}
