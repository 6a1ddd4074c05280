import ThreadExecutor

/// Opens connections on a thread of its own, so that a broker that doesn't answer holds up nobody else.
///
/// A publisher or consumer stays able to keep its deadlines while its next connection is being opened. The link is
/// handed over whole: after that only its new owner's thread touches it.
actor AMQPConnector {
    /// What the connection will be for.
    enum Role: Sendable {
        case publish
        case consume(queue: String, prefetch: UInt16, consumerTag: String)
    }

    /// One attempt, all answers together, takes no longer than this many times the configured timeout.
    private static let attemptTimeouts = 5

    private nonisolated let executor = ThreadExecutor()
    private let configuration: AMQPConfiguration
    private let topology: AMQPTopology

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    init(configuration: AMQPConfiguration, topology: AMQPTopology) {
        self.configuration = configuration
        self.topology = topology
    }

    deinit {
        executor.stop()
    }

    /// Connects, declares the topology and prepares the channel for its role.
    func open(for role: Role) throws(AMQPError) -> sending Link {
        let deadline = ContinuousClock.now + configuration.timeout * Self.attemptTimeouts
        let link = try Link.open(configuration, deadline: deadline)
        try link.declare(topology, deadline: deadline)
        switch role {
        case .publish: try link.selectConfirms(deadline: deadline)
        case .consume(let queue, let prefetch, let consumerTag):
            try link.consume(queue, prefetch: prefetch, consumerTag: consumerTag, deadline: deadline)
        }
        return link
    }
}
