import AMQP
import Foundation
import Logging
import OpsMetrics
import ServiceLifecycle

/// Takes events from the forward queue, posts them to the platform, and settles each by what came of it.
///
/// A delivery is acknowledged only once the platform has the event, or the broker has it in another queue.
struct Forwarder: Service {
    /// How long the requests under way may still take when the process stops.
    static let stopLimit = Duration.seconds(5)
    /// How long the broker may take to confirm a message that moves to another queue.
    private static let publishTimeout = Duration.seconds(30)
    /// The most characters of an error that are logged.
    private static let maximumLoggedCharacters = 500
    private static let goodbyeTimeout = Duration.milliseconds(500)

    let consumer: AMQPConsumer
    let publisher: AMQPPublisher
    let platform: PlatformClient
    let concurrency: Int
    let metrics: ConsumerMetrics
    let logger: Logger

    /// Forwards until shutdown; then finishes what is under way, for at most ``stopLimit``.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await work() }
            group.addTask { await limitStopping() }
            await group.next()
            group.cancelAll()
        }
        await publisher.close(deadline: .now + Self.goodbyeTimeout)
        await consumer.close(deadline: .now + Self.goodbyeTimeout)
    }

    /// Returns when the time for stopping is up, so that the work is cancelled; what isn't settled then comes again.
    private func limitStopping() async {
        do {
            try await gracefulShutdown()
            await consumer.cancel(deadline: .now + .seconds(1))
            try await Task.sleep(for: Self.stopLimit)
            logger.warning("requests took too long; their events will be delivered again")
            // A publish doesn't end by cancelling.
            await publisher.close(deadline: .now + Self.goodbyeTimeout)
        } catch {
            // The work was done sooner.
        }
    }

    private func work() async {
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<concurrency {
                group.addTask {
                    for await delivery in consumer.deliveries {
                        await forward(delivery)
                        // What is still here and not begun goes back to the queue with the connection.
                        if Task.isShuttingDownGracefully { return }
                    }
                }
            }
        }
    }

    private func forward(_ delivery: AMQPDelivery) async {
        do {
            let event = try ForwardedEvent(
                body: delivery.body,
                messageID: delivery.messageID,
                headers: delivery.headers
            )
            let started = ContinuousClock.now
            let outcome = await platform.post(event)
            if Task.isCancelled { return }
            metrics.requestDuration.observe(started.duration(to: .now))
            await settle(delivery, event, outcome)
        } catch {
            await giveUp(delivery, status: nil, error: error.reason)
        }
    }

    private func settle(_ delivery: AMQPDelivery, _ event: ForwardedEvent, _ outcome: RequestOutcome) async {
        switch DeliveryPolicy.verdict(on: outcome, attempts: event.attempts) {
        case .delivered:
            metrics.delivered.increment()
            if let occurredAtMs = event.occurredAtMs {
                let delay = Date().timeIntervalSince1970 - Double(occurredAtMs) / 1_000
                metrics.endToEndDelay.observe(max(0, delay))
            }
            logger.debug("delivered", metadata: ["event_id": "\(event.id)"])
            await acknowledge(delivery)
        case .retry(let tierMs, let countsAsAttempt):
            let attempts = countsAsAttempt ? event.attempts + 1 : event.attempts
            logger.warning(
                "delivery failed; it will be tried again",
                metadata: [
                    "event_id": "\(event.id)", "failed_attempts": .stringConvertible(attempts),
                    "retry_after_ms": .stringConvertible(tierMs),
                    "error": "\(outcome.summary.prefix(Self.maximumLoggedCharacters))",
                ]
            )
            let destination = Destination.retry(tierMs: tierMs, failedAttempts: attempts, headers: delivery.headers)
            if await move(delivery, to: destination) { metrics.countRetry(tierMs: tierMs) }
        case .deadLetter(let reason):
            await giveUp(delivery, status: outcome.status, error: "\(reason): \(outcome.summary)")
        }
    }

    private func giveUp(_ delivery: AMQPDelivery, status: Int?, error: String) async {
        let attempts = ForwardedEvent.attempts(delivery.headers) + (status == nil ? 0 : 1)
        let destination = Destination.deadLetter(
            status: status,
            error: error,
            failedAttempts: attempts,
            at: Date(),
            headers: delivery.headers
        )
        logger.error(
            "delivery failed; it goes to the dead letters",
            metadata: [
                "event_id": "\(delivery.messageID ?? "")", "failed_attempts": .stringConvertible(attempts),
                "error": "\(error.prefix(Self.maximumLoggedCharacters))",
            ]
        )
        if await move(delivery, to: destination) { metrics.deadLettered.increment() }
    }

    /// Publishes a delivery to where it goes next, then acknowledges it; says whether the broker has it there.
    private func move(_ delivery: AMQPDelivery, to destination: Destination) async -> Bool {
        let message = AMQPMessage(delivery, to: destination)
        let outcome = await publisher.publish([message], deadline: .now + Self.publishTimeout).first
        if outcome == .confirmed {
            await acknowledge(delivery)
            return true
        }
        logger.error(
            "the broker didn't take a message; it goes back to its queue",
            metadata: [
                "event_id": "\(delivery.messageID ?? "")", "exchange": "\(destination.exchange)",
                "outcome": "\(outcome ?? .connectionLost)",
            ]
        )
        try? await Task.sleep(for: DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: delivery.deliveryCount))
        await tellBroker(delivery) { () async throws(AMQPError) in try await consumer.nack(delivery, requeue: true) }
        return false
    }

    private func acknowledge(_ delivery: AMQPDelivery) async {
        await tellBroker(delivery) { () async throws(AMQPError) in try await consumer.ack(delivery) }
    }

    /// A settlement that doesn't arrive costs nothing but another delivery, which the platform knows by its id.
    private func tellBroker(_ delivery: AMQPDelivery, _ settle: () async throws(AMQPError) -> Void) async {
        do {
            try await settle()
        } catch {
            logger.info(
                "not settled; the broker will deliver it again",
                metadata: ["event_id": "\(delivery.messageID ?? "")", "error": "\(error)"]
            )
        }
    }
}

extension RequestOutcome {
    /// The platform's status, if it answered.
    fileprivate var status: Int? {
        if case .answered(let status, _, _) = self { status } else { nil }
    }

    /// One line for logs and dead letters.
    fileprivate var summary: String {
        switch self {
        case .answered(let status, _, let message): "status \(status) \(message)"
        case .networkFailure(let reason): "no answer: \(reason)"
        case .timedOut: "no answer in time"
        }
    }
}
