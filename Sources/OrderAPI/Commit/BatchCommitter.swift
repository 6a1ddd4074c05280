import Foundation
import Logging
import OrderDomain
import OrderMessages
import OrderStore
import Postgres

/// Makes one batch durable, whatever it takes, and says what became of each of its commands.
struct BatchCommitter: Sendable {
    /// How long keys are remembered.
    static let keyLifetime: TimeInterval = 24 * 3_600
    /// How long one try may take, both round trips together.
    static let tryTimeout = Duration.seconds(2)
    /// How long to look for what became of a transaction whose COMMIT was not answered.
    static let verdictTimeout = Duration.seconds(2)
    /// When no further try is begun. The longest that a batch can take is this, one try, and its verdict: 7 s.
    static let retryTimeout = Duration.seconds(3)
    /// How often a batch is tried: a conflict makes the next try lock what it only read before.
    static let tries = 3

    /// The server says that a transaction whose COMMIT was not answered came to nothing.
    private struct Aborted: Error {}

    let pool: PostgresPool
    let gate: SoldOutGate
    let metrics: CommitMetrics
    let logger: Logger

    /// One answer for each submission, in order.
    func commit(_ batch: [Submission]) async -> [Result<CommitAnswer, any Error>] {
        let start = ContinuousClock.now
        let answers = await commitOrSplit(batch)
        metrics.observe(batchSize: batch.count, duration: start.duration(to: .now))
        for (submission, answer) in zip(batch, answers) { metrics.count(answer, to: submission.command) }
        return answers
    }

    private func commitOrSplit(_ batch: [Submission]) async -> [Result<CommitAnswer, any Error>] {
        do {
            return try await commitWithRetries(batch).map { .success($0) }
        } catch let problem as Problem {
            return batch.map { _ in .failure(problem) }
        } catch {
            logger.error(
                "batch failed",
                metadata: ["size": "\(batch.count)", "error": "\(String(reflecting: error))"]
            )
            // One command that the database refuses must not take the others with it.
            guard batch.count > 1 else { return [.failure(error)] }
            let half = batch.count / 2
            return await commitOrSplit(Array(batch[..<half])) + commitOrSplit(Array(batch[half...]))
        }
    }

    /// Throws a `Problem` when trying again later may help, another error when the batch itself is at fault.
    private func commitWithRetries(_ batch: [Submission]) async throws -> [CommitAnswer] {
        let start = ContinuousClock.now
        for attempt in 1...BatchCommitter.tries where start.duration(to: .now) < BatchCommitter.retryTimeout {
            do {
                return try await commitOnce(batch, lockAccounts: attempt > 1)
            } catch is CommitStore.Conflict {
                metrics.countRetry("conflict")
            } catch is Aborted {
                // The answer to COMMIT was lost and the server says that nothing came of it: as good as never begun.
                metrics.countRetry("aborted")
            } catch let error as PostgresError where error.isRetryable {
                metrics.countRetry(error.sqlState?.rawValue ?? error.code.rawValue)
                logger.warning("batch is tried again", metadata: ["try": "\(attempt)", "error": "\(error)"])
                if error.code == .connectFailed { break }
            }
        }
        throw Problem.unavailable("database_unavailable", "the database cannot be reached; nothing was done")
    }

    private func commitOnce(_ batch: [Submission], lockAccounts: Bool) async throws -> [CommitAnswer] {
        let now = Date().wholeMilliseconds
        let keysSince = now - BatchCommitter.keyLifetime
        let deadline = ContinuousClock.now + BatchCommitter.tryTimeout
        var openTransaction: String?
        var committed: [CommitAnswer] = []
        do {
            return try await pool.withConnection(deadline: deadline) { connection in
                let open = try await CommitStore.open(
                    batch.map(\.command),
                    lockAccounts: lockAccounts,
                    keysSince: keysSince,
                    on: connection,
                    deadline: deadline
                )
                let plan = BatchPlan(batch, open)
                openTransaction = open.transactionID
                committed = plan.answers
                try await CommitStore.commit(
                    plan.adjudication,
                    events: plan.events,
                    answers: plan.remembered,
                    at: now,
                    keysSince: keysSince,
                    on: connection,
                    deadline: deadline
                )
                gate.learn(plan.adjudication, open.snapshot)
                return plan.answers
            }
        } catch let error as PostgresError where [.connectionLost, .timedOut, .cancelled].contains(error.code) {
            // Before the second round trip nothing can have been committed; after it only the server knows.
            guard let openTransaction else { throw error }
            metrics.countRetry("commit_unanswered")
            return try await verdict(on: openTransaction, ifCommitted: committed)
        }
    }

    /// Looks at what became of a transaction before anybody is answered.
    private func verdict(
        on transaction: String,
        ifCommitted answers: [CommitAnswer]
    ) async throws -> [CommitAnswer] {
        let deadline = ContinuousClock.now + BatchCommitter.verdictTimeout
        while ContinuousClock.now < deadline {
            switch try? await pool.status(ofTransaction: transaction, deadline: deadline) {
            case .committed: return answers
            case .aborted: throw Aborted()
            // A server that forgets this soon is a server restored from elsewhere: it may yet come back.
            case .inProgress, .tooOld, nil: try await Task.sleep(for: .milliseconds(50))
            }
        }
        throw Problem.unavailable(
            "outcome_unknown",
            "the database was lost while it committed; look the order up, or send the request again with the same "
                + "Idempotency-Key",
            retryAfterSeconds: 5
        )
    }
}
