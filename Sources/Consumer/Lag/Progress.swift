import EventTopology
import FoundationEssentials
import Synchronization

/// What this process has done and what it has in hand, for the measurement of lag.
final class Progress: Sendable {
    /// A moment's view of it.
    struct View: Sendable {
        let delivered: Int
        let settled: Int
        /// Moved out of the way through no fault of theirs.
        let setAside: Int
        /// When the event happened that was taken last from the queue and had not been taken before.
        let lastTaken: Date?
        /// When the oldest of the events in hand happened.
        let oldestInHand: Date?
        /// When the oldest event happened that waits in a retry tier, by the tier's delay in milliseconds, as far as
        /// this process has moved it there.
        let oldestInTier: [Int: Date]
        let delays: DelayWindow
    }

    /// What leaves a retry tier in the same second.
    private struct Leaving: Hashable {
        let tierMs: Int
        let second: Int64
    }

    private struct Shared {
        var delivered = 0
        var settled = 0
        var setAside = 0
        var lastTaken: Date?
        /// How many events in hand happened in each second, by the second.
        var inHand: [Int64: Int] = [:]
        /// The oldest event that leaves a tier in each second; as many as the tiers have seconds.
        var inTiers: [Leaving: Date] = [:]
        var delays = DelayWindow()
    }

    private let shared = Mutex(Shared())

    func took(_ events: [ForwardedEvent]) {
        shared.withLock { shared in
            for event in events { shared.inHand[event.occurredAt.second, default: 0] += 1 }
            if let fresh = events.last(where: { $0.attempts == 0 }) { shared.lastTaken = fresh.occurredAt }
        }
    }

    func letGo(_ events: [ForwardedEvent]) {
        shared.withLock { shared in
            for event in events {
                let second = event.occurredAt.second
                let left = (shared.inHand[second] ?? 0) - 1
                shared.inHand[second] = left > 0 ? left : nil
            }
        }
    }

    func delivered(_ events: [ForwardedEvent], at now: Date) {
        shared.withLock { shared in
            shared.delivered += events.count
            for event in events {
                shared.delays.add(max(0, now.timeIntervalSince(event.occurredAt)) * 1_000, at: .now)
            }
        }
    }

    func settled(_ count: Int) {
        shared.withLock { $0.settled += count }
    }

    func setAside(_ count: Int) {
        shared.withLock { $0.setAside += count }
    }

    func movedToTier(_ tierMs: Int, occurredAt: Date) {
        let due = Date().addingTimeInterval(Double(BrokerNames.lateDelayMs(tierMs)) / 1_000).second
        let leaving = Leaving(tierMs: tierMs, second: due)
        shared.withLock { shared in
            shared.inTiers[leaving] = min(shared.inTiers[leaving] ?? occurredAt, occurredAt)
        }
    }

    func view(at now: Date) -> View {
        shared.withLock { shared in
            shared.inTiers = shared.inTiers.filter { $0.key.second >= now.second }
            return View(
                delivered: shared.delivered,
                settled: shared.settled,
                setAside: shared.setAside,
                lastTaken: shared.lastTaken,
                oldestInHand: shared.inHand.keys.min().map { Date(timeIntervalSince1970: Double($0)) },
                oldestInTier: shared.inTiers.reduce(into: [:]) { oldest, entry in
                    oldest[entry.key.tierMs] = min(oldest[entry.key.tierMs] ?? entry.value, entry.value)
                },
                delays: shared.delays
            )
        }
    }
}

extension Date {
    fileprivate var second: Int64 { Int64(timeIntervalSince1970.rounded(.down)) }
}
