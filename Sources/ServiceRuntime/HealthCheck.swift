import Synchronization

/// One thing that a process needs in order to do its work, and how to find out whether it is there.
package struct HealthCheck: Sendable {
    /// The name in the readiness answer, for example `postgres`.
    package let name: String
    /// How long the probe may take; longer counts as failed.
    package let timeout: Duration
    /// Whether the process can do nothing without it; else it does less, or does it later.
    let isEssential: Bool
    let probe: @Sendable () async throws -> Void

    /// Creates a check.
    ///
    /// - Parameters:
    ///   - name: the name in the readiness answer.
    ///   - timeout: how long the probe may take.
    ///   - isEssential: whether the process can do nothing without it, see ``OperationsRoutes``.
    ///   - probe: returns when all is well and throws when it is not; the error's description is shown to whoever asks,
    ///     so it must be safe. It is cancelled when its time is up; until it returns it is not called again.
    package init(
        _ name: String,
        timeout: Duration = .seconds(1),
        isEssential: Bool = false,
        probe: @escaping @Sendable () async throws -> Void
    ) {
        self.name = name
        self.timeout = timeout
        self.isEssential = isEssential
        self.probe = probe
    }
}

/// Asks all checks at once; at most one probe of each is ever running.
struct Readiness: Sendable {
    struct Answer: Sendable {
        let name: String
        /// Why the check failed; nil when all is well.
        let failure: String?
        let duration: Duration
    }

    private let probes: [Probe]

    init(_ checks: [HealthCheck]) {
        probes = checks.map { Probe($0) }
    }

    /// The answers in the order of the checks, of all or of the essential ones alone, after no more than the longest
    /// timeout.
    func answers(essentialOnly: Bool = false) async -> [Answer] {
        await withTaskGroup(of: (Int, Answer).self) { group in
            for (index, probe) in probes.enumerated() where probe.isEssential || !essentialOnly {
                group.addTask { (index, await probe.answer()) }
            }
            var answers: [(Int, Answer)] = []
            for await answer in group { answers.append(answer) }
            return answers.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }
}

/// A check whose probe runs at most once at a time; those who ask meanwhile share its result.
private final class Probe: Sendable {
    private struct State {
        /// Tells the run that is going from those before it.
        var run = 0
        var isRunning = false
        /// Whether the run that is going has had its time.
        var isLate = false
        var waiters: [CheckedContinuation<String?, Never>] = []
    }

    private enum Step {
        case start(run: Int)
        case wait
        case answerLate(CheckedContinuation<String?, Never>)
    }

    private let check: HealthCheck
    private let state = Mutex(State())

    init(_ check: HealthCheck) {
        self.check = check
    }

    var isEssential: Bool { check.isEssential }

    func answer() async -> Readiness.Answer {
        let start = ContinuousClock.now
        let failure = await withCheckedContinuation { waiter in
            switch state.withLock({ Self.step(&$0, waiter) }) {
            case .start(let run): begin(run)
            case .wait: break
            case .answerLate(let waiter): waiter.resume(returning: lateness)
            }
        }
        return Readiness.Answer(name: check.name, failure: failure, duration: .now - start)
    }

    private static func step(_ state: inout State, _ waiter: CheckedContinuation<String?, Never>) -> Step {
        if state.isLate { return .answerLate(waiter) }
        state.waiters.append(waiter)
        if state.isRunning { return .wait }
        state.isRunning = true
        state.run += 1
        return .start(run: state.run)
    }

    private var lateness: String { "no answer within \(Int(check.timeout / .milliseconds(1))) ms" }

    /// Starts probe and timer as tasks of their own: a probe that ignores its cancellation must not hold up the answer.
    private func begin(_ run: Int) {
        let probe = Task {
            do {
                try await check.probe()
                finish(failure: nil)
            } catch {
                finish(failure: Self.line(error))
            }
        }
        Task {
            try? await Task.sleep(for: check.timeout)
            if expire(run) { probe.cancel() }
        }
    }

    private func finish(failure: String?) {
        let waiters = state.withLock { state in
            state.isRunning = false
            state.isLate = false
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: failure) }
    }

    /// Answers those who wait for this run; whether it is still going.
    private func expire(_ run: Int) -> Bool {
        let waiters: [CheckedContinuation<String?, Never>]? = state.withLock { state in
            guard state.isRunning, state.run == run else { return nil }
            state.isLate = true
            defer { state.waiters = [] }
            return state.waiters
        }
        guard let waiters else { return false }
        for waiter in waiters { waiter.resume(returning: lateness) }
        return true
    }

    private static func line(_ error: any Error) -> String {
        let line = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
        return String(line.prefix(300))
    }
}
