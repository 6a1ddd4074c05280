package import AMQP

extension AMQPTopology {
    /// What a publisher of order events declares: the exchange, and the forward queue so that no event comes back
    /// unroutable because no consumer has been there yet.
    package static let orderEvents = AMQPTopology(
        exchanges: [
            Exchange(name: BrokerNames.eventsExchange, kind: .topic),
            Exchange(name: BrokerNames.deadLetterExchange, kind: .direct),
        ],
        queues: [forwardQueue, deadLetterQueue],
        bindings: [
            Binding(
                queue: BrokerNames.forwardQueue,
                exchange: BrokerNames.eventsExchange,
                routingKey: BrokerNames.allEvents
            )
        ] + deadLetterBindings
    )

    /// What the consumer declares: the above and its retry tiers.
    package static let forwarding = AMQPTopology(
        exchanges: orderEvents.exchanges + [Exchange(name: BrokerNames.retryExchange, kind: .direct)],
        queues: orderEvents.queues + BrokerNames.retryTiersMs.flatMap(retryQueues),
        bindings: orderEvents.bindings + BrokerNames.retryTiersMs.flatMap(retryBindings)
    )

    /// Bounded: a full queue refuses, and the refused events stay in the outbox. A message that was delivered 20 times
    /// without an answer goes to the dead letters. Arguments of a queue never change; another set is another queue.
    private static let forwardQueue = Queue(
        name: BrokerNames.forwardQueue,
        arguments: [
            "x-queue-type": .string("quorum"),
            "x-delivery-limit": .int64(20),
            "x-dead-letter-exchange": .string(BrokerNames.deadLetterExchange),
            "x-dead-letter-routing-key": .string(BrokerNames.poisonKey),
            "x-dead-letter-strategy": .string("at-least-once"),
            "x-overflow": .string("reject-publish"),
            "x-max-length": .int64(2_000_000),
        ]
    )

    /// No limit of any kind: what is here waits for a person.
    private static let deadLetterQueue = Queue(
        name: BrokerNames.deadLetterQueue,
        arguments: ["x-queue-type": .string("quorum")]
    )

    private static let deadLetterBindings = [BrokerNames.failedKey, BrokerNames.poisonKey].map { key in
        Binding(queue: BrokerNames.deadLetterQueue, exchange: BrokerNames.deadLetterExchange, routingKey: key)
    }

    private static func retryQueues(delayMs: Int) -> [Queue] {
        [
            retryQueue(BrokerNames.retryQueue(delayMs: delayMs), delayMs: delayMs),
            retryQueue(
                BrokerNames.lateRetryQueue(delayMs: delayMs),
                delayMs: BrokerNames.lateDelayMs(delayMs)
            ),
        ]
    }

    private static func retryBindings(delayMs: Int) -> [Binding] {
        [
            Binding(
                queue: BrokerNames.retryQueue(delayMs: delayMs),
                exchange: BrokerNames.retryExchange,
                routingKey: BrokerNames.retryKey(delayMs: delayMs, isLate: false)
            ),
            Binding(
                queue: BrokerNames.lateRetryQueue(delayMs: delayMs),
                exchange: BrokerNames.retryExchange,
                routingKey: BrokerNames.retryKey(delayMs: delayMs, isLate: true)
            ),
        ]
    }

    /// One delay a queue: a queue gives back its head first, so a longer delay in front would hold up a shorter one.
    private static func retryQueue(_ name: String, delayMs: Int) -> Queue {
        Queue(
            name: name,
            arguments: [
                "x-queue-type": .string("quorum"),
                "x-message-ttl": .int64(Int64(delayMs)),
                // The default exchange: only this subscriber gets it back.
                "x-dead-letter-exchange": .string(""),
                "x-dead-letter-routing-key": .string(BrokerNames.forwardQueue),
                "x-dead-letter-strategy": .string("at-least-once"),
                "x-overflow": .string("reject-publish"),
                "x-max-length": .int64(2_000_000),
            ]
        )
    }
}
