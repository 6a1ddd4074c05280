import OrderDomain
import OrderMessages
import OrderStore
import ServiceLifecycle

/// A command on its way, with whom to answer.
struct Submission: Sendable {
    let command: Command
    let requestID: String
    let traceparent: String?
}

extension Submission {
    /// The command of a request.
    init(_ command: Command, _ context: APIContext) {
        self.init(command: command, requestID: context.requestID, traceparent: context.traceparent)
    }
}

/// What a command's sender is told.
struct CommitAnswer: Sendable {
    let answer: RememberedAnswer
    /// Whether it is the answer to an earlier request with the same idempotency key.
    let isReplay: Bool
}

/// Commits whatever changes a balance or sells stock.
///
/// A user's commands always take the same lane: orders, charges and refunds of one user keep their order and cannot
/// fight. Lanes meet in products only, whose locks they take in the order of the ids.
final class CommitEngine: Service {
    private let lanes: [CommitLane]
    private let gate: SoldOutGate
    private let metrics: CommitMetrics

    /// - Parameters:
    ///   - lanes: how many batches may be in flight at once.
    ///   - onCommit: called after each batch that is durable.
    init(
        lanes: Int,
        committer: BatchCommitter,
        metrics: CommitMetrics,
        onCommit: @escaping @Sendable () -> Void
    ) {
        self.lanes = (0..<lanes).map { _ in
            CommitLane(committer: committer, metrics: metrics, onCommit: onCommit)
        }
        gate = committer.gate
        self.metrics = metrics
    }

    /// Commits a command and returns its answer once that is durable.
    ///
    /// An order of products that are known to be sold out is refused here, without the database; one with an
    /// idempotency key is not, since its refusal must be remembered.
    /// - Throws: `Problem` with status 503 when the queue is full, the database cannot be reached, or it cannot be
    ///   known what became of the command. Every call ends: the queue and each batch have a deadline.
    func submit(_ submission: Submission) async throws -> CommitAnswer {
        if case .placeOrder(let order) = submission.command, order.claim == nil,
            let shortages = gate.shortages(of: order.lines)
        {
            metrics.count("sold_out", of: submission.command)
            return .refused(.insufficientStock(shortages), requestID: submission.requestID)
        }
        let lane = Int(submission.command.userID.rawValue % Int64(lanes.count))
        return try await lanes[lane].submit(submission)
    }

    /// Runs all lanes until shutdown; what has been accepted by then is still committed.
    func run() async throws {
        await withGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { group in
                for lane in lanes { group.addTask { @concurrent in await lane.run() } }
            }
        } onGracefulShutdown: { [lanes] in
            for lane in lanes { lane.stop() }
        }
    }
}
