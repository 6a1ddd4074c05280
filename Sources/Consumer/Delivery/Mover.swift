import AMQP
import EventTopology
import Logging

/// Settles deliveries with the broker: acknowledges them, or moves them to another queue.
struct Mover: Sendable {
    /// A delivery and where it goes.
    struct Move: Sendable {
        let delivery: AMQPDelivery
        let destination: Destination
    }

    /// How long the broker may take to confirm messages that move to another queue.
    private static let publishTimeout = Duration.seconds(30)

    let publisher: AMQPPublisher
    let logger: Logger

    /// Publishes deliveries to where they go next, then acknowledges those that the broker has there.
    ///
    /// Gives the others back to their queue, after a pause. Returns for each whether it is where it should be.
    func move(_ moves: [Move], of consumer: AMQPConsumer) async -> [Bool] {
        guard !moves.isEmpty else { return [] }
        let messages = moves.map { AMQPMessage($0.delivery, to: $0.destination) }
        let outcomes = await publisher.publish(messages, deadline: .now + Self.publishTimeout)
        let isMoved = outcomes.map { $0 == .confirmed }
        await acknowledge(zip(moves, isMoved).compactMap { $1 ? $0.delivery : nil }, of: consumer)
        let refused = zip(moves, outcomes).filter { $1 != .confirmed }
        if let (first, outcome) = refused.first {
            logger.error(
                "the broker didn't take messages; they go back to their queue",
                metadata: [
                    "count": .stringConvertible(refused.count), "exchange": "\(first.destination.exchange)",
                    "routing_key": "\(first.destination.routingKey)", "outcome": "\(outcome)",
                ]
            )
            await giveBack(refused.map(\.0.delivery), of: consumer)
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

    private func giveBack(_ deliveries: [AMQPDelivery], of consumer: AMQPConsumer) async {
        let count = deliveries.map(\.deliveryCount).max() ?? 0
        try? await Task.sleep(for: DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: count))
        for delivery in deliveries { try? await consumer.nack(delivery, requeue: true) }
    }
}
