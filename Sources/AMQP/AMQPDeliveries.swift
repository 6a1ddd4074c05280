/// The deliveries of a consumer, as they come; ends when the consumer has been cancelled or closed.
///
/// Several tasks may iterate at once: each delivery goes to one of them. Cancelling such a task ends its iteration
/// only; the consumer goes on.
package struct AMQPDeliveries: AsyncSequence, Sendable {
    package typealias Element = AMQPDelivery
    package typealias Failure = Never

    /// Takes deliveries one by one.
    package struct AsyncIterator: AsyncIteratorProtocol, Sendable {
        fileprivate let consumer: AMQPConsumer

        /// The next delivery; `nil` when there won't be any more, or the task has been cancelled.
        package mutating func next(isolation actor: isolated (any Actor)?) async -> AMQPDelivery? {
            await consumer.nextDelivery()
        }

        /// The next delivery; `nil` when there won't be any more, or the task has been cancelled.
        package mutating func next() async -> AMQPDelivery? {
            await consumer.nextDelivery()
        }
    }

    let consumer: AMQPConsumer

    /// An iterator; it shares the deliveries with all others of the same consumer.
    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(consumer: consumer)
    }
}
