/// How the work stands, judged over a window and without thresholds (the rules of LinkedIn's Burrow).
enum LagStatus: String, CaseIterable, Sendable, Comparable {
    /// Nothing waited at some time in the window, or what waits grows less.
    case ok
    /// What waits did not grow less at any time in the window, though events are delivered or set aside, or none is
    /// due.
    case warn
    /// Messages are settled, but none is delivered; or something waits and the circuit is not closed.
    case stall
    /// Something is due, and nothing is settled or set aside.
    case stop

    /// Whether it is better.
    static func < (left: Self, right: Self) -> Bool { left.severity < right.severity }

    private var severity: Int {
        switch self {
        case .ok: 0
        case .warn: 1
        case .stall: 2
        case .stop: 3
        }
    }
}

/// The last samples, which the status is judged by. A value.
struct LagWindow: Sendable {
    static let size = 10

    struct Sample: Sendable, Equatable {
        /// What waits before the platform and need not: in the outbox, ready, in hand.
        let due: Int
        /// What waits for its time in the retry tiers.
        let postponed: Int
        /// Whether more waits than could be counted, so that nobody sees it grow less.
        var isAtLeast = false
        /// Settled since the start, in whatever way.
        let settled: Int
        /// Delivered since the start.
        let delivered: Int
        /// Moved out of the way since the start: nothing is done with them, but who does so has not stopped.
        var setAside = 0

        var waiting: Int { due + postponed }
    }

    private var samples: [Sample] = []

    mutating func add(_ sample: Sample) {
        if samples.count == Self.size { samples.removeFirst() }
        samples.append(sample)
    }

    /// Until the window is full nothing is known, and all is well.
    var status: LagStatus {
        guard samples.count == Self.size, let first = samples.first, let last = samples.last,
            samples.allSatisfy({ $0.waiting > 0 })
        else { return .ok }
        if last.settled == first.settled, last.setAside == first.setAside, samples.allSatisfy({ $0.due > 0 }) {
            return .stop
        }
        if last.settled != first.settled, last.delivered == first.delivered { return .stall }
        let decreases = zip(samples, samples.dropFirst()).contains { $1.isAtLeast || $1.waiting < $0.waiting }
        return decreases ? .ok : .warn
    }
}

/// How fast events are delivered, and when the last that waits will be. A value.
struct DrainRate: Sendable {
    /// Long enough to be steady, short enough to be now.
    static let window = Duration.seconds(30)

    private var points: [(at: ContinuousClock.Instant, waiting: Int?, delivered: Int)] = []

    /// Adds what waits, nil when it is more than could be counted, and what has been delivered since the start.
    mutating func add(at now: ContinuousClock.Instant, waiting: Int?, delivered: Int) {
        points.append((now, waiting, delivered))
        points.removeAll { $0.at.duration(to: now) > Self.window }
    }

    /// Deliveries a second.
    var deliveredPerSecond: Double {
        guard let first = points.first, let last = points.last, last.at > first.at else { return 0 }
        return Double(last.delivered - first.delivered) / (first.at.duration(to: last.at) / .seconds(1))
    }

    /// Zero when nothing waits, infinite when it doesn't grow less as far as anybody can see.
    var etaSeconds: Double {
        guard let last = points.last, last.waiting != 0 else { return 0 }
        let counted = points.drop { $0.waiting == nil }
        guard let first = counted.first, let before = first.waiting, let now = last.waiting, last.at > first.at,
            before > now
        else { return .infinity }
        let perSecond = Double(before - now) / (first.at.duration(to: last.at) / .seconds(1))
        return Double(now) / perSecond
    }
}
