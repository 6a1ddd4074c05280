package import AMQP
import EventTopology

/// What waits in the broker's queues between the outbox and the data platform.
package struct ForwardingDepths: Equatable, Sendable {
    /// A retry tier, both its queues together.
    package struct Tier: Encodable, Equatable, Sendable {
        /// Its delay, in milliseconds.
        package let tierMs: Int
        package let messages: Int
    }

    /// How many dead letters there are.
    package enum DeadLetters: Equatable, Sendable {
        case missing
        case waiting(Int)
        /// Somebody goes through them, and is given all: the broker counts none meanwhile.
        case walked

        init(_ queue: QueueDepth?) {
            switch queue {
            case nil: self = .missing
            case let queue? where queue.consumers > 0: self = .walked
            case let queue?: self = .waiting(queue.ready)
            }
        }
    }

    /// In the forward queue, with nobody yet; nil when there is no such queue.
    package let ready: Int?
    /// Given up.
    package let deadLetters: DeadLetters
    /// From the shortest delay to the longest.
    package let tiers: [Tier]

    /// Sorts the depths of the queues.
    package init(_ depths: [String: QueueDepth]) {
        ready = depths[BrokerNames.forwardQueue]?.ready
        deadLetters = DeadLetters(depths[BrokerNames.deadLetterQueue])
        // A tier may have more than one queue.
        tiers = BrokerNames.retryTiersMs.map { tierMs in
            let queues = depths.filter { $0.key.hasPrefix("dataplatform.retry.\(tierMs).") }
            return Tier(tierMs: tierMs, messages: queues.values.reduce(0) { $0 + $1.ready })
        }
    }

    /// All that waits for another attempt.
    package var retrying: Int { tiers.reduce(0) { $0 + $1.messages } }

    /// Asks the broker; throws `AMQPError`.
    package static func read(
        _ inspector: AMQPInspector,
        deadline: ContinuousClock.Instant
    ) async throws(AMQPError) -> ForwardingDepths {
        ForwardingDepths(try await inspector.depth(of: AMQPTopology.forwarding.queues.map(\.name), deadline: deadline))
    }
}
