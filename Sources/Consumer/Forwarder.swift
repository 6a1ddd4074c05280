import AMQP
import EventTopology
import Logging
import OpsMetrics
import ServiceLifecycle

/// Takes events from the forward queue to the platform, session after session.
struct Forwarder: Service {
    /// How long what is under way may still take when the process stops.
    static let stopLimit = Duration.seconds(5)
    private static let goodbyeTimeout = Duration.milliseconds(500)
    /// How often a broker that accepts no messages is looked at.
    private static let blockedInterval = Duration.milliseconds(500)

    let broker: AMQPConfiguration
    let publisher: AMQPPublisher
    let platform: PlatformClient
    let inbox: Inbox
    let circuit: Circuit
    let intake: Intake
    let inFlight: InFlight
    let limits: SessionLimits
    let ordering: Ordering
    let metrics: ConsumerMetrics
    let progress: Progress
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
    }

    /// Returns when the time for stopping is up, so that the work is cancelled; what isn't settled then comes again.
    private func limitStopping() async {
        do {
            try await gracefulShutdown()
            try await Task.sleep(for: Self.stopLimit)
            logger.warning("requests took too long; their events will be delivered again")
            // A publish doesn't end by cancelling.
            await publisher.close(deadline: .now + Self.goodbyeTimeout)
        } catch {
            // The work was done sooner.
        }
    }

    private func work() async {
        var isCareful = false
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            do {
                try await waitUntilUseful()
            } catch {
                return
            }
            let mode: Session.Mode = circuit.state == .halfOpen ? .probe : isCareful ? .careful : .wide
            switch await runSession(mode) {
            case .shutdown: return
            case .suspicion: isCareful = true
            case .allClear: isCareful = false
            case .circuitOpen, .circuitClosed, .inbox, .broker: break
            }
        }
    }

    /// Returns when the inbox answers, the broker would take what fails, and the circuit admits a request; throws when
    /// the process stops meanwhile.
    private func waitUntilUseful() async throws {
        try await cancelWhenGracefulShutdown {
            try await inbox.waitUntilReachable()
            while case .blocked = publisher.status { try await Task.sleep(for: Self.blockedInterval) }
            while !circuit.beginProbe() { try await Task.sleep(for: max(circuit.pause, .milliseconds(1))) }
        }
    }

    private func runSession(_ mode: Session.Mode) async -> StopReason {
        let limits = mode == .wide ? limits : .one
        let consumer = AMQPConsumer(
            configuration: broker,
            topology: .forwarding,
            queue: BrokerNames.forwardQueue,
            prefetch: limits.prefetch,
            consumerTag: "consumer",
            logger: logger
        )
        let session = Session(mode: mode, limits: limits, consumer: consumer, circuit: circuit)
        let forwarder = BatchForwarder(
            consumer: consumer,
            platform: platform,
            inbox: inbox,
            mover: Mover(publisher: publisher, logger: logger) { await session.stop(.broker) },
            circuit: circuit,
            isProbe: mode == .probe,
            inFlight: inFlight,
            ordering: ordering,
            metrics: metrics,
            progress: progress,
            logger: logger,
            stop: { await session.stop($0) }
        )
        intake.begin(consumer)
        let reason = await session.run(forwarder)
        intake.end()
        await consumer.close(deadline: .now + Self.goodbyeTimeout)
        return reason
    }
}
