package import Logging
import Synchronization
import ThreadExecutor

/// Asks the broker about queues, over a connection of its own.
///
/// It never publishes, so a memory or disk alarm doesn't block it. One connection is kept open between questions; calls
/// are answered one after another.
package actor AMQPInspector {
    private nonisolated let executor = ThreadExecutor()
    private nonisolated let statusNow = Mutex(AMQPConnectionStatus.disconnected(nil))
    private let configuration: AMQPConfiguration
    private let logger: Logger
    private var link: Link?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    /// Creates an inspector; it connects when it is first asked.
    package init(configuration: AMQPConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    deinit {
        executor.stop()
    }

    /// How it stands with the broker; from any thread.
    package nonisolated var status: AMQPConnectionStatus {
        statusNow.withLock { $0 }
    }

    /// The depths of those of the queues that exist.
    ///
    /// Throws when the broker can't be asked by the deadline; a queue that doesn't exist is just left out.
    package func depth(
        of queues: [String],
        deadline: ContinuousClock.Instant
    ) async throws(AMQPError) -> [String: QueueDepth] {
        try use(deadline) { link throws(AMQPError) in
            var depths: [String: QueueDepth] = [:]
            for queue in queues {
                do throws(AMQPError) {
                    depths[queue] = try link.depth(of: queue, deadline: deadline)
                } catch {
                    guard error.code == .channelClosed(404) else { throw error }
                    try link.openChannel(deadline: deadline)
                }
            }
            return depths
        }
    }

    /// Declares a topology, as every client does when it connects.
    package func declare(_ topology: AMQPTopology, deadline: ContinuousClock.Instant) async throws(AMQPError) {
        try use(deadline) { link throws(AMQPError) in try link.declare(topology, deadline: deadline) }
    }

    /// How the exchanges and queues on the broker differ from a topology; creates and changes nothing.
    ///
    /// Plain AMQP can't tell which bindings there are. Throws when the broker can't be asked by the deadline.
    package func drift(
        from topology: AMQPTopology,
        deadline: ContinuousClock.Instant
    ) async throws(AMQPError) -> [AMQPTopologyDrift] {
        try use(deadline) { link throws(AMQPError) in
            var drift: [AMQPTopologyDrift] = []
            for exchange in topology.exchanges {
                let found = try difference(link, deadline) { () throws(AMQPError) in
                    try link.find(exchange: exchange.name, deadline: deadline)
                    try link.declare(AMQPTopology(exchanges: [exchange]), deadline: deadline)
                }
                if let found { drift.append(.init(kind: .exchange, name: exchange.name, difference: found)) }
            }
            for queue in topology.queues {
                let found = try difference(link, deadline) { () throws(AMQPError) in
                    _ = try link.depth(of: queue.name, deadline: deadline)
                    try link.declare(AMQPTopology(queues: [queue]), deadline: deadline)
                }
                if let found { drift.append(.init(kind: .queue, name: queue.name, difference: found)) }
            }
            return drift
        }
    }

    /// Looks for something and declares it as it should be; says how it differs, nil when it doesn't.
    private func difference(
        _ link: Link,
        _ deadline: ContinuousClock.Instant,
        _ declare: () throws(AMQPError) -> Void
    ) throws(AMQPError) -> AMQPTopologyDrift.Difference? {
        do throws(AMQPError) {
            try declare()
            return nil
        } catch {
            let difference: AMQPTopologyDrift.Difference
            switch error.code {
            case .channelClosed(404): difference = .missing
            case .topologyMismatch: difference = .other(error.reason)
            default: throw error
            }
            try link.openChannel(deadline: deadline)
            return difference
        }
    }

    /// Deletes the queues of a topology, with the messages in them, and its exchanges.
    package func delete(_ topology: AMQPTopology, deadline: ContinuousClock.Instant) async throws(AMQPError) {
        try use(deadline) { link throws(AMQPError) in
            for queue in topology.queues { try link.deleteQueue(queue.name, deadline: deadline) }
            for exchange in topology.exchanges { try link.deleteExchange(exchange.name, deadline: deadline) }
        }
    }

    /// Says goodbye to the broker; the next question connects again.
    package func close(deadline: ContinuousClock.Instant) async {
        link?.close(deadline: min(deadline, .now + .seconds(1)))
        dropLink(because: nil)
    }

    /// Runs questions over the connection, and gives the connection up when one fails.
    private func use<Answer>(
        _ deadline: ContinuousClock.Instant,
        _ ask: (Link) throws(AMQPError) -> Answer
    ) throws(AMQPError) -> Answer {
        do {
            return try ask(openLink(deadline))
        } catch {
            dropLink(because: error)
            throw error
        }
    }

    private func openLink(_ deadline: ContinuousClock.Instant) throws(AMQPError) -> Link {
        if let link { return link }
        let opened = try Link.open(configuration, deadline: deadline)
        link = opened
        statusNow.withLock { $0 = .connected }
        executor.watch(opened.descriptor, tick: configuration.tick) { [weak self] in
            self?.assumeIsolated { $0.onSocketEvent() }
        }
        return opened
    }

    /// Keeps the heartbeats going between the questions.
    private func onSocketEvent() {
        do {
            while try link?.nextEvent() != nil {}
        } catch {
            dropLink(because: error)
        }
    }

    private func dropLink(because error: AMQPError?) {
        if let error, link != nil { logger.info("the inspector lost the broker", metadata: ["error": "\(error)"]) }
        executor.unwatch()
        link = nil
        statusNow.withLock { $0 = .disconnected(error) }
    }
}
