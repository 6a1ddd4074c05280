import Synchronization

/// How many batches are under way, for the one task that begins them.
final class Slots: Sendable {
    private struct Shared {
        var used = 0
        var isLifted = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let shared = Mutex(Shared())

    /// Waits until fewer than `limit()` are under way, asking for it anew whenever one ends; at once after ``lift()``.
    func wait(limit: () -> Int) async {
        while !isFree(limit()) { await change(limit: limit()) }
    }

    /// Notes that a batch begins.
    func take() {
        shared.withLock { $0.used += 1 }
    }

    /// Notes that a batch has ended.
    func giveBack() {
        resume { $0.used -= 1 }
    }

    /// There is no limit any more.
    func lift() {
        resume { $0.isLifted = true }
    }

    private func isFree(_ limit: Int) -> Bool {
        shared.withLock { $0.isLifted || $0.used < limit }
    }

    private func change(limit: Int) async {
        await withCheckedContinuation { continuation in
            let isFree = shared.withLock { shared in
                // It may have changed since it was looked at.
                if shared.isLifted || shared.used < limit { return true }
                shared.waiter = continuation
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    private func resume(_ change: (inout Shared) -> Void) {
        let waiter = shared.withLock { shared in
            change(&shared)
            defer { shared.waiter = nil }
            return shared.waiter
        }
        waiter?.resume()
    }
}
