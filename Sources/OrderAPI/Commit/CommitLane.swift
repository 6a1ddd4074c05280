import DequeModule
import OrderMessages
import Synchronization

/// Takes commands in the order of their arrival and commits them in batches.
///
/// Natural batching, without a timer: while one batch is in flight the next one fills, and then takes all that waits.
/// With little to do a batch has one command and nothing is slower; with much to do the locks and the fsync are shared.
///
/// A lane keeps the order of arrival, and has one batch in flight at a time.
final class CommitLane: Sendable {
    /// How many commands one transaction takes.
    static let batchLimit = 256
    /// How many commands may wait: four batches, a fraction of a second; beyond that it is kinder to say no at once.
    static let queueLimit = 4 * batchLimit
    /// How long a command may wait for its batch to begin; it is then refused, and nothing was done. With the longest
    /// that a batch may take (7 s, see `BatchCommitter.retryTimeout`) that stays within a request's 10 seconds.
    static let queueTimeout = Duration.seconds(2)
    private static let expiryInterval = Duration.milliseconds(100)

    private struct Waiting: Sendable {
        let submission: Submission
        let since: ContinuousClock.Instant
        let continuation: CheckedContinuation<CommitAnswer, any Error>
    }

    private struct State {
        var queue: Deque<Waiting> = []
        var isStopped = false
    }

    private let committer: BatchCommitter
    private let metrics: CommitMetrics
    private let onCommit: @Sendable () -> Void
    private let state = Mutex(State())
    private let arrivals: AsyncStream<Void>
    private let arrival: AsyncStream<Void>.Continuation

    /// - Parameter onCommit: called after each batch that is durable.
    init(committer: BatchCommitter, metrics: CommitMetrics, onCommit: @escaping @Sendable () -> Void) {
        self.committer = committer
        self.metrics = metrics
        self.onCommit = onCommit
        // One pending wake-up is enough: a wake-up takes all that waits.
        (arrivals, arrival) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Commits a command and returns its answer once that is durable.
    ///
    /// - Throws: `Problem` with status 503 when the queue is full, the database cannot be reached, or it cannot be
    ///   known what became of the command. Every call ends: the queue and each batch have a deadline.
    func submit(_ submission: Submission) async throws -> CommitAnswer {
        try await withCheckedThrowingContinuation { continuation in
            let waiting = Waiting(submission: submission, since: .now, continuation: continuation)
            let isQueued = state.withLock { state in
                guard !state.isStopped, state.queue.count < CommitLane.queueLimit else { return false }
                state.queue.append(waiting)
                return true
            }
            if isQueued {
                arrival.yield()
            } else {
                metrics.count("overloaded", of: submission.command)
                continuation.resume(
                    throwing: Problem.unavailable("overloaded", "too many orders are waiting; try again")
                )
            }
        }
    }

    /// Commits batch after batch until ``stop()``; what has been accepted by then is still committed.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in await expireLate() }
            for await _ in arrivals { await commitAllWaiting() }
            state.withLock { $0.isStopped = true }
            await commitAllWaiting()
            group.cancelAll()
        }
    }

    /// Ends ``run()`` once what waits is committed; safe from any thread.
    func stop() {
        arrival.finish()
    }

    private func commitAllWaiting() async {
        while true {
            let batch = take()
            if batch.isEmpty { return }
            let answers = await committer.commit(batch.map(\.submission))
            for (waiting, answer) in zip(batch, answers) {
                waiting.continuation.resume(with: answer)
            }
            onCommit()
        }
    }

    /// The next batch, in order of arrival.
    private func take() -> [Waiting] {
        state.withLock { state in
            let count = min(state.queue.count, CommitLane.batchLimit)
            defer { state.queue.removeFirst(count) }
            return Array(state.queue.prefix(count))
        }
    }

    /// Refuses what has waited too long, also while a batch is in flight that takes its time.
    private func expireLate() async {
        while !Task.isCancelled {
            let late = state.withLock { state in
                let late = state.queue.prefix { $0.since.duration(to: .now) >= CommitLane.queueTimeout }
                defer { state.queue.removeFirst(late.count) }
                return Array(late)
            }
            for waiting in late {
                metrics.count("overloaded", of: waiting.submission.command)
                waiting.continuation.resume(
                    throwing: Problem.unavailable("overloaded", "the order waited too long to be begun; try again")
                )
            }
            try? await Task.sleep(for: CommitLane.expiryInterval)
        }
    }
}
