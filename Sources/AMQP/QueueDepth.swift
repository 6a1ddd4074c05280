/// How much waits in a queue.
package struct QueueDepth: Sendable, Equatable {
    /// Messages that nobody has been given yet.
    package let ready: Int
    /// Consumers that the queue has.
    package let consumers: Int
}
