import Glibc
import Synchronization

/// Frees a thread that is stuck in a call of the library, from outside.
///
/// Publishing has no timeout, nor has the heartbeat that is sent while reading: when the broker reads nothing (an
/// alarm, a stopped process, a dead network) and the socket is full, they wait for ever. Shutting the socket down
/// makes them return with an error. The thread marks its calls; whoever's deadline passes meanwhile asks for the
/// interruption.
final class CallGuard: Sendable {
    private struct State {
        var descriptor: Int32?
        var calls: UInt64 = 0
        var isInCall = false
    }

    /// A call that goes on this long past a deadline is stuck; usual ones take microseconds, at most some milliseconds.
    private static let patience = Duration.milliseconds(100)

    private let state = Mutex(State())

    /// Says which socket the calls use from now on; `nil` before that one is closed.
    func attach(_ descriptor: Int32?) {
        state.withLock { $0.descriptor = descriptor }
    }

    /// Makes a call that can be interrupted.
    func run<Answer>(_ call: () throws(AMQPError) -> Answer) throws(AMQPError) -> Answer {
        state.withLock {
            $0.calls += 1
            $0.isInCall = true
        }
        defer { state.withLock { $0.isInCall = false } }
        return try call()
    }

    /// Shuts the socket down if one and the same call goes on and on.
    func interruptStuckCall() async {
        let current = state.withLock { $0.isInCall ? $0.calls : nil }
        guard let current else { return }
        do {
            try await Task.sleep(for: Self.patience)
        } catch {
            return
        }
        state.withLock { state in
            guard state.isInCall, state.calls == current, let descriptor = state.descriptor else { return }
            // The lock is held: the descriptor can't be closed, and its number given to another, in between.
            shutdown(descriptor, Int32(SHUT_RDWR))
        }
    }
}
