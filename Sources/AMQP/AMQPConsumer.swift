import Backoff
import DequeModule
package import Logging
import Synchronization
import ThreadExecutor

/// Takes the messages of one queue over one connection.
///
/// It connects when the first delivery is asked for, and again with jittered pauses whenever the connection or the
/// channel breaks, the queue is deleted, or the broker's `consumer_timeout` strikes; then the broker gives out again
/// what wasn't settled, and the deliveries of before are stale. It ends only by ``cancel(deadline:)`` or
/// ``close(deadline:)``. At most `prefetch` deliveries are unsettled at a time, which also bounds what it holds.
package actor AMQPConsumer {
    private static let goodConnectionAge = Duration.seconds(5)
    /// How long what is done waits for the deliveries before it, to be acknowledged together with them.
    private static let patience = Duration.milliseconds(20)

    private enum Phase {
        case idle, running, cancelling, cancelled, closed
    }

    private nonisolated let executor = ThreadExecutor()
    private nonisolated let statusNow = Mutex(AMQPConnectionStatus.disconnected(nil))
    private let configuration: AMQPConfiguration
    private let connector: AMQPConnector
    private let role: AMQPConnector.Role
    private let consumerTag: String
    private let logger: Logger

    private var phase = Phase.idle
    private var link: Link?
    private var connectedAt = ContinuousClock.now
    private var generation: UInt64 = 0
    private var isConnecting = false
    private var backoff = Backoff(base: .milliseconds(50), cap: .seconds(5))
    private var mustPause = false
    /// The deliveries of this connection.
    private var window = AcknowledgementWindow()
    private var isAboutToTell = false
    private var buffer: Deque<AMQPDelivery> = []
    private var waiters: [(id: UInt64, continuation: CheckedContinuation<AMQPDelivery?, Never>)] = []
    private var lastWaiter: UInt64 = 0
    private var cancelWaiter: CheckedContinuation<Void, Never>?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    /// Creates a consumer; it connects when the first delivery is asked for.
    ///
    /// - Parameters:
    ///   - configuration: the broker.
    ///   - topology: declared each time that it connects; put the queue in, or it must exist.
    ///   - queue: the queue to take from.
    ///   - prefetch: the most unsettled deliveries, 1 to 65,535.
    ///   - consumerTag: what the broker's tools show for the consumer.
    ///   - logger: told of connections that come and go.
    package init(
        configuration: AMQPConfiguration,
        topology: AMQPTopology,
        queue: String,
        prefetch: Int,
        consumerTag: String,
        logger: Logger
    ) {
        precondition((1...65_535).contains(prefetch), "a prefetch is 1 to 65535")
        self.configuration = configuration
        connector = AMQPConnector(configuration: configuration, topology: topology)
        role = .consume(queue: queue, prefetch: UInt16(prefetch), consumerTag: consumerTag)
        self.consumerTag = consumerTag
        self.logger = logger
    }

    deinit {
        executor.stop()
    }

    /// How it stands with the broker; from any thread. A consumer is never `blocked`.
    package nonisolated var status: AMQPConnectionStatus {
        statusNow.withLock { $0 }
    }

    /// The deliveries; asking for the first one starts the consumer.
    package nonisolated var deliveries: AMQPDeliveries {
        AMQPDeliveries(consumer: self)
    }

    /// Acknowledges a delivery: the broker forgets the message.
    ///
    /// Throws `staleDelivery` when it is settled already or came over an earlier connection, whose unsettled messages
    /// the broker gives out again; `connectionLost` when the broker can't be told, which will give it out again too.
    package func ack(_ delivery: AMQPDelivery) async throws(AMQPError) {
        try settle(delivery) { link throws(AMQPError) in try link.acknowledge(delivery.tag) }
    }

    /// Gives a delivery back to the queue, or drops it, which dead-letters it where the queue says so.
    ///
    /// A quorum queue counts what is given back as an attempt (`x-delivery-limit`). Throws like ``ack(_:)``.
    package func nack(_ delivery: AMQPDelivery, requeue: Bool) async throws(AMQPError) {
        try settle(delivery) { link throws(AMQPError) in try link.refuse(delivery.tag, requeue: requeue) }
    }

    /// Acknowledges many deliveries in as few frames as it takes; returns how many of them it was not too late for.
    ///
    /// The others are settled already or came over an earlier connection. The broker is told at once of those before
    /// which nothing is unsettled, and within 20 ms of the others, unless the connection breaks first: then it gives
    /// them out again.
    package func ack(_ deliveries: [AMQPDelivery]) async -> Int {
        let count = deliveries.count { $0.generation == generation && window.finish($0.tag) }
        if let covered = window.takeCovered() {
            try? send { link throws(AMQPError) in try link.acknowledge(covered, multiple: true) }
        }
        if window.hasRest, !isAboutToTell {
            isAboutToTell = true
            Task { [weak self] in
                try? await Task.sleep(for: Self.patience)
                await self?.acknowledgeRest()
            }
        }
        return count
    }

    /// How many deliveries are neither acknowledged nor given back, those that nobody has asked for yet included.
    package var unsettledCount: Int { window.openCount }

    /// The next deliveries: waits for one, then as long as `waiting` says for others, and returns what is there.
    ///
    /// At most `maximum`, in the order of the queue. Empty when there won't be any more, or when the task has been
    /// cancelled before the first one came.
    package func batch(upTo maximum: Int, waiting: Duration) async -> [AMQPDelivery] {
        guard let first = await nextDelivery() else { return [] }
        if buffer.count + 1 < maximum, waiting > .zero, phase == .running {
            // Cancelled or not, what is in hand is returned.
            try? await Task.sleep(for: waiting)
        }
        var batch = [first]
        while batch.count < maximum, let delivery = buffer.popFirst() { batch.append(delivery) }
        return batch
    }

    /// Stops taking messages.
    ///
    /// Returns when the broker has agreed, at the deadline at the latest. The deliveries that are here already are
    /// still handed out, then the sequence ends; all can still be settled until ``close(deadline:)``. Giving back the
    /// ones not started is left to the caller, because a quorum queue would count that as an attempt. Final: make a
    /// new consumer to go on.
    package func cancel(deadline: ContinuousClock.Instant) async {
        guard phase == .idle || phase == .running else { return }
        phase = .cancelling
        do {
            try link?.sendCancel(consumerTag: consumerTag)
        } catch {
            dropLink(because: error)
        }
        if link != nil {
            let timer = Task { [weak self] in
                try await Task.sleep(until: deadline, clock: .continuous)
                await self?.finishCancelling()
            }
            await withCheckedContinuation { cancelWaiter = $0 }
            timer.cancel()
        }
        finishCancelling()
    }

    /// Ends everything: what isn't settled goes back to the queue, and the sequence ends at once.
    package func close(deadline: ContinuousClock.Instant) async {
        finishCancelling()
        acknowledgeRest()
        phase = .closed
        buffer.removeAll()
        window.removeAll()
        executor.unwatch()
        link?.close(deadline: min(deadline, .now + .seconds(1)))
        dropLink(because: AMQPError(.closed, "the consumer has been closed"))
    }

    // MARK: Deliveries

    /// The next delivery, for ``AMQPDeliveries``.
    func nextDelivery() async -> AMQPDelivery? {
        if let delivery = buffer.popFirst() { return delivery }
        guard phase == .idle || phase == .running || phase == .cancelling else { return nil }
        if phase == .idle { phase = .running }
        connectIfNeeded()
        lastWaiter += 1
        let id = lastWaiter
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume(returning: nil)
                } else {
                    waiters.append((id, continuation))
                }
            }
        } onCancel: {
            Task { await self.stopWaiting(id) }
        }
    }

    private func stopWaiting(_ id: UInt64) {
        guard let position = waiters.firstIndex(where: { $0.id == id }) else { return }
        waiters.remove(at: position).continuation.resume(returning: nil)
    }

    private func handOut(_ content: IncomingContent) {
        guard case .delivery(let tag, let redelivered) = content.origin else { return }
        // After a cancel that the broker didn't answer in time nobody takes deliveries: they go back with the link.
        guard phase == .running || phase == .cancelling else { return }
        window.deliver(tag)
        let delivery = AMQPDelivery(content, generation: generation, tag: tag, redelivered: redelivered)
        if waiters.isEmpty {
            buffer.append(delivery)
        } else {
            waiters.removeFirst().continuation.resume(returning: delivery)
        }
    }

    private func settle(
        _ delivery: AMQPDelivery,
        _ tell: (Link) throws(AMQPError) -> Void
    ) throws(AMQPError) {
        guard delivery.generation == generation, window.settle(delivery.tag) else {
            throw AMQPError(.staleDelivery, "settled already, or from an earlier connection")
        }
        try send(tell)
    }

    private func acknowledgeRest() {
        isAboutToTell = false
        let (covered, rest) = (window.takeCovered(), window.takeRest())
        guard covered != nil || !rest.isEmpty else { return }
        try? send { link throws(AMQPError) in
            link.holdBack(true)
            defer { link.holdBack(false) }
            if let covered { try link.acknowledge(covered, multiple: true) }
            for tag in rest { try link.acknowledge(tag) }
        }
    }

    /// Tells the broker of deliveries; drops the connection when it cannot be told, and throws why.
    private func send(_ tell: (Link) throws(AMQPError) -> Void) throws(AMQPError) {
        // Without a connection no delivery is open, so that nobody comes here.
        guard let link else { throw AMQPError(.connectionLost, "there is no connection") }
        do throws(AMQPError) {
            // A few bytes for each delivery fit the socket, unless the broker has stopped reading altogether.
            guard link.readiness().isWritable else { throw AMQPError(.connectionLost, "the broker doesn't read") }
            try tell(link)
        } catch {
            dropLink(because: error)
            throw error
        }
    }

    private func finishCancelling() {
        if phase != .closed { phase = .cancelled }
        cancelWaiter?.resume()
        cancelWaiter = nil
        for waiter in waiters { waiter.continuation.resume(returning: nil) }
        waiters = []
    }

    // MARK: Connection

    private func connectIfNeeded() {
        guard link == nil, !isConnecting, phase == .running else { return }
        isConnecting = true
        Task { await connect() }
    }

    /// Tries until there is a connection, or none is wanted any more.
    private func connect() async {
        while phase == .running {
            if mustPause { try? await Task.sleep(for: backoff.next()) }
            mustPause = true
            do throws(AMQPError) {
                let link = try await connector.open(for: role)
                isConnecting = false
                return adopt(link)
            } catch {
                logger.warning("can't consume", metadata: ["error": "\(error)"])
                setStatus(.disconnected(error))
            }
        }
        isConnecting = false
    }

    private func adopt(_ link: Link) {
        guard phase == .running else { return }
        self.link = link
        generation += 1
        connectedAt = .now
        setStatus(.connected)
        executor.watch(link.descriptor, tick: configuration.tick) { [weak self] in
            self?.assumeIsolated { $0.onSocketEvent() }
        }
        logger.info("consuming", metadata: ["broker": "\(configuration)", "consumer": "\(consumerTag)"])
        onSocketEvent()
    }

    private func onSocketEvent() {
        guard let link else { return }
        do throws(AMQPError) {
            while let event = try link.nextEvent() {
                switch event {
                case .delivered(let content): handOut(content)
                case .consumerCancelled: throw AMQPError(.consumerCancelled, "the broker cancelled the consumer")
                case .cancelAccepted: finishCancelling()
                case .acknowledged, .refused, .returned, .blocked, .unblocked: break
                }
                guard link.readiness().isReadable else { return }
            }
        } catch {
            dropLink(because: error)
        }
    }

    private func dropLink(because error: AMQPError) {
        guard link != nil else { return setStatus(.disconnected(error)) }
        executor.unwatch()
        link = nil
        // The broker gives these out again; settling one of them now would hit another message.
        buffer.removeAll()
        window.removeAll()
        if connectedAt.duration(to: .now) > Self.goodConnectionAge { backoff.reset() }
        setStatus(.disconnected(error))
        if phase == .cancelling { finishCancelling() }
        if phase != .closed { logger.warning("lost the broker", metadata: ["error": "\(error)"]) }
        connectIfNeeded()
    }

    private func setStatus(_ status: AMQPConnectionStatus) {
        statusNow.withLock { $0 = status }
    }
}
