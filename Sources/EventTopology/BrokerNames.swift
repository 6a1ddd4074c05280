/// The names on the message broker that publishers and consumers agree on.
package enum BrokerNames {
    /// The topic exchange to which every order event goes; the routing key is the event's type.
    package static let eventsExchange = "order.events"
    /// Matches every order event.
    package static let allEvents = "order.#"
    /// The queue of what is to be forwarded to the data platform.
    package static let forwardQueue = "dataplatform.forward.v1"
    /// The direct exchange of retries; the routing key is the tier's delay in milliseconds.
    package static let retryExchange = "dataplatform.retry"
    /// The delays of the retry tiers, in milliseconds.
    package static let retryTiersMs = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 120_000, 300_000]
    /// The direct exchange of what was given up.
    package static let deadLetterExchange = "dataplatform.dlx"
    /// Where what was given up waits for a person.
    package static let deadLetterQueue = "dataplatform.dlq.v1"

    /// The routing key of what was given up after its last attempt, or refused for good.
    package static let failedKey = "failed"
    /// The routing key of what the broker itself gave up: delivered too often without an answer.
    package static let poisonKey = "poison"

    /// The queue of one retry tier.
    package static func retryQueue(delayMs: Int) -> String {
        "dataplatform.retry.\(delayMs).v1"
    }

    /// A tier's second queue, with a tenth more delay: who uses both by chance spreads what failed at once.
    package static func lateRetryQueue(delayMs: Int) -> String {
        "dataplatform.retry.\(delayMs).late.v1"
    }

    /// The routing key of one retry tier: `isLate` chooses the second queue.
    package static func retryKey(delayMs: Int, isLate: Bool) -> String {
        isLate ? "\(delayMs).late" : "\(delayMs)"
    }

    /// The delay of a tier's second queue, in milliseconds.
    package static func lateDelayMs(_ delayMs: Int) -> Int {
        delayMs + delayMs / 10
    }
}
