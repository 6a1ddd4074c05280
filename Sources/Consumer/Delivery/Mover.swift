import AMQP
import Backoff
import EventTopology
import Logging
import Synchronization

/// Settles deliveries with the broker, for one session: acknowledges them, or moves them to another queue.
final class Mover: Sendable {
    /// A delivery and where it goes.
    struct Move: Sendable {
        let delivery: AMQPDelivery
        let destination: Destination
    }

    /// How long the broker may take to confirm messages that move to another queue before no more are taken.
    private static let patience = Duration.seconds(30)
    /// How long deliveries are kept in hand that can't be moved, from the first one of the session on. With the time
    /// that they may have waited for the inbox, far below the broker's `consumer_timeout` of 30 min.
    static let holdLimit = Duration.seconds(600)

    private let publisher: AMQPPublisher
    private let logger: Logger
    /// Called when the broker doesn't take what is to be moved.
    private let onTrouble: @Sendable () async -> Void
    private let troubleSince = Mutex<ContinuousClock.Instant?>(nil)

    init(publisher: AMQPPublisher, logger: Logger, onTrouble: @escaping @Sendable () async -> Void) {
        self.publisher = publisher
        self.logger = logger
        self.onTrouble = onTrouble
    }

    /// Publishes deliveries to where they go next, then acknowledges those that the broker has there.
    ///
    /// What it doesn't take now stays in hand and is published again, for ``holdLimit`` at most: given back it would
    /// count as if a consumer had died with it. What it never takes, or not by then, goes back to its queue after a
    /// pause. Returns for each whether it is where it should be; sooner when the task is cancelled.
    func move(_ moves: [Move], of consumer: AMQPConsumer) async -> [Bool] {
        var isMoved = Array(repeating: false, count: moves.count)
        var waiting = Array(moves.indices)
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        while !waiting.isEmpty {
            let outcomes = await publish(waiting.map { moves[$0] })
            let taken = zip(waiting, outcomes).filter { $1 == .confirmed }.map(\.0)
            for index in taken { isMoved[index] = true }
            await acknowledge(taken.map { moves[$0].delivery }, of: consumer)
            let refused = zip(waiting, outcomes).filter { $1 != .confirmed }
            guard let (first, outcome) = refused.first else { break }
            if backoff.attempts == 0 { report(refused.count, moves[first], outcome) }
            waiting = refused.filter { $1.mayPass }.map(\.0)
            if !waiting.isEmpty, await !mayStayInHand(consumer) { waiting = [] }
            let hopeless = refused.map(\.0).filter { !waiting.contains($0) }
            await giveBack(hopeless.map { moves[$0].delivery }, of: consumer)
            if !waiting.isEmpty, (try? await Task.sleep(for: backoff.next())) == nil { break }
        }
        return isMoved
    }

    /// A settlement that doesn't arrive costs nothing but another delivery, which the inbox knows.
    func acknowledge(_ deliveries: [AMQPDelivery], of consumer: AMQPConsumer) async {
        guard !deliveries.isEmpty else { return }
        let inTime = await consumer.ack(deliveries)
        if inTime < deliveries.count {
            logger.info(
                "not acknowledged; the broker will deliver them again",
                metadata: ["count": .stringConvertible(deliveries.count - inTime)]
            )
        }
    }

    /// Waits for the broker as long as the messages may stay in hand: a blocked one confirms once it is blocked no more
    /// what it was sent before, and sent again it would have that twice.
    private func publish(_ moves: [Move]) async -> [PublishOutcome] {
        let messages = moves.map { AMQPMessage($0.delivery, to: $0.destination) }
        let watch = Task {
            try await Task.sleep(for: Self.patience)
            _ = await noteTrouble()
        }
        defer { watch.cancel() }
        let since = troubleSince.withLock { $0 } ?? .now
        return await publisher.publish(messages, deadline: max(.now + Self.patience, since + Self.holdLimit))
    }

    /// Whether what the broker doesn't take may be kept; not once the broker has taken it back with the connection.
    private func mayStayInHand(_ consumer: AMQPConsumer) async -> Bool {
        let since = await noteTrouble()
        return consumer.status.isConnected && since.duration(to: .now) < Self.holdLimit
    }

    /// Since when there is trouble; the first time it says so.
    private func noteTrouble() async -> ContinuousClock.Instant {
        let (isFirst, since) = troubleSince.withLock { troubleSince in
            let (isFirst, since) = (troubleSince == nil, troubleSince ?? .now)
            troubleSince = since
            return (isFirst, since)
        }
        if isFirst {
            logger.error("the broker doesn't take what is to move to another queue; no more is taken")
            await onTrouble()
        }
        return since
    }

    private func giveBack(_ deliveries: [AMQPDelivery], of consumer: AMQPConsumer) async {
        guard !deliveries.isEmpty else { return }
        let count = deliveries.map(\.deliveryCount).max() ?? 0
        try? await Task.sleep(for: DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: count))
        for delivery in deliveries { try? await consumer.nack(delivery, requeue: true) }
    }

    private func report(_ count: Int, _ first: Move, _ outcome: PublishOutcome) {
        logger.error(
            "the broker doesn't take messages",
            metadata: [
                "count": .stringConvertible(count), "exchange": "\(first.destination.exchange)",
                "routing_key": "\(first.destination.routingKey)", "outcome": "\(outcome)",
            ]
        )
    }
}

extension PublishOutcome {
    /// Whether the broker may take the same message later, without anybody doing anything about it.
    fileprivate var mayPass: Bool {
        switch self {
        case .nacked, .timedOut, .connectionLost: true
        case .confirmed, .returned, .tooLarge, .invalid: false
        }
    }
}
