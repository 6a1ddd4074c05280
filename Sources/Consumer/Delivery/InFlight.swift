import FoundationEssentials
import Synchronization

/// The keys that requests are under way for, so that no two carry one at the same time.
///
/// After a lost connection the broker hands out again what is still being sent. All keys are taken at once, so nobody
/// waits with some in hand; those who wait are served in order, each by the end of a request, which is bounded.
final class InFlight: Sendable {
    private struct Shared {
        var keys: Set<UUID> = []
        var waiters: [(keys: Set<UUID>, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let shared = Mutex(Shared())

    /// Returns once all keys are the caller's; ``end(_:)`` must follow, cancelled or not.
    func begin(_ keys: Set<UUID>) async {
        await withCheckedContinuation { continuation in
            let isFree = shared.withLock { shared in
                let isFree =
                    shared.keys.isDisjoint(with: keys)
                    && shared.waiters.allSatisfy {
                        $0.keys.isDisjoint(with: keys)
                    }
                if isFree { shared.keys.formUnion(keys) } else { shared.waiters.append((keys, continuation)) }
                return isFree
            }
            if isFree { continuation.resume() }
        }
    }

    /// How many wait for keys.
    var waiting: Int { shared.withLock { $0.waiters.count } }

    /// Gives the keys back.
    func end(_ keys: Set<UUID>) {
        let ready = shared.withLock { shared in
            shared.keys.subtract(keys)
            var ready: [CheckedContinuation<Void, Never>] = []
            var blocked: Set<UUID> = []
            var waiting: [(keys: Set<UUID>, continuation: CheckedContinuation<Void, Never>)] = []
            for waiter in shared.waiters {
                if shared.keys.isDisjoint(with: waiter.keys), blocked.isDisjoint(with: waiter.keys) {
                    shared.keys.formUnion(waiter.keys)
                    ready.append(waiter.continuation)
                } else {
                    blocked.formUnion(waiter.keys)
                    waiting.append(waiter)
                }
            }
            shared.waiters = waiting
            return ready
        }
        for continuation in ready { continuation.resume() }
    }
}
