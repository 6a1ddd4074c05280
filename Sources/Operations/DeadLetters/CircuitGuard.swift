/// Says when to stop sending because the consumer can't pass anything on.
package struct CircuitGuard {
    private static let interval = Duration.seconds(1)

    private let consumer: ConsumerClient
    private var lastAsked: ContinuousClock.Instant?

    /// Guards sending by what this consumer says of its circuit.
    package init(_ consumer: ConsumerClient) {
        self.consumer = consumer
    }

    /// Why nothing more should be sent; nil when the consumer is fine, or was so within the last second.
    mutating func reasonToStop() async -> String? {
        if let lastAsked, lastAsked.duration(to: .now) < Self.interval { return nil }
        lastAsked = .now
        do throws(ConsumerClient.Silent) {
            guard try await consumer.lag().isCircuitOpen else { return nil }
            return "the consumer's circuit is open: the data platform fails"
        } catch {
            return "\(error); --without-consumer sends all the same"
        }
    }
}
