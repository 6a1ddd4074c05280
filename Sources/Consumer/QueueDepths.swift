import AMQP
import EventTopology
import Logging
import OpsMetrics
import ServiceLifecycle

/// Keeps the gauges of waiting messages up to date.
struct QueueDepths: Service {
    private static let interval = Duration.seconds(2)
    private static let timeout = Duration.seconds(1)
    private static let retryQueues = BrokerNames.retryTiersMs.map { BrokerNames.retryQueue(delayMs: $0) }

    let inspector: AMQPInspector
    let metrics: ConsumerMetrics
    let logger: Logger

    /// Asks the broker until shutdown; while it can't be asked, the gauges stay as they are.
    func run() async {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await update()
                } catch {
                    logger.debug("queue depths are unknown", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: Self.interval)
            }
        }
        await inspector.close(deadline: .now + Self.timeout)
    }

    private func update() async throws(AMQPError) {
        let queues = [BrokerNames.forwardQueue, BrokerNames.deadLetterQueue] + Self.retryQueues
        let depths = try await inspector.depth(of: queues, deadline: .now + Self.timeout)
        let deadLetters = Double(depths[BrokerNames.deadLetterQueue]?.ready ?? 0)
        metrics.ready.set(Double(depths[BrokerNames.forwardQueue]?.ready ?? 0))
        metrics.waitingForRetry.set(Double(Self.retryQueues.reduce(0) { $0 + (depths[$1]?.ready ?? 0) }))
        metrics.deadLetterLag.set(deadLetters)
        metrics.deadLetters.set(deadLetters)
    }
}
