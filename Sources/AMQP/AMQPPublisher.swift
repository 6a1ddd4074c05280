import Backoff
import DequeModule
package import Logging
import Synchronization
import ThreadExecutor

/// Publishes messages over one connection, and says of each what the broker made of it.
///
/// Every message is sent `mandatory` and with publisher confirms. The connection is opened when there is something to
/// send, and again after it broke, with jittered pauses. Calls may overlap: their messages share the window.
package actor AMQPPublisher {
    /// The most messages that are sent ahead of the broker's answers, unless said otherwise.
    package static let defaultMaximumUnconfirmed = 512

    /// A confirm that hasn't come after this long never will: then the connection is given up.
    private static let maximumConfirmAge = Duration.seconds(30)
    /// A connection that lived this long was a good one: the next pauses start small again.
    private static let goodConnectionAge = Duration.seconds(5)

    private struct Batch {
        let messages: [AMQPMessage]
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<[PublishOutcome], Never>
        var outcomes: [PublishOutcome?]
        var unsettled: Int
        /// Where sending has got to; those with an outcome already are skipped.
        var next = 0
    }

    private nonisolated let executor = ThreadExecutor()
    private nonisolated let callGuard = CallGuard()
    private nonisolated let statusNow = Mutex(AMQPConnectionStatus.disconnected(nil))
    private nonisolated let lastBatch = Atomic<UInt64>(0)
    private let configuration: AMQPConfiguration
    private let connector: AMQPConnector
    private let maximumUnconfirmed: Int
    private let maximumBodyBytes: Int
    private let logger: Logger

    private var link: Link?
    private var connectedAt = ContinuousClock.now
    private var isBlocked = false
    private var isClosed = false
    private var isConnecting = false
    private var backoff = Backoff(base: .milliseconds(50), cap: .seconds(5))
    private var mustPause = false
    private var window = ConfirmWindow()
    private var batches: [UInt64: Batch] = [:]
    /// The batches that have messages to send, in order of arrival.
    private var sendOrder: Deque<UInt64> = []
    private var connectionWaiters: [UInt64: CheckedContinuation<AMQPError?, Never>] = [:]

    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    /// Creates a publisher; it connects when it is first used.
    ///
    /// - Parameters:
    ///   - configuration: the broker.
    ///   - topology: declared each time that it connects.
    ///   - maximumUnconfirmed: the window: the most messages sent and not yet answered, 1 or more.
    ///   - maximumBodyBytes: larger bodies are refused with `tooLarge`; by default 1 MiB.
    ///   - logger: told of connections that come and go.
    package init(
        configuration: AMQPConfiguration,
        topology: AMQPTopology,
        maximumUnconfirmed: Int = defaultMaximumUnconfirmed,
        maximumBodyBytes: Int = 1_048_576,
        logger: Logger
    ) {
        precondition(maximumUnconfirmed > 0, "a publisher needs a window of at least one message")
        self.configuration = configuration
        connector = AMQPConnector(configuration: configuration, topology: topology)
        self.maximumUnconfirmed = maximumUnconfirmed
        self.maximumBodyBytes = maximumBodyBytes
        self.logger = logger
    }

    deinit {
        executor.stop()
    }

    /// How it stands with the broker; from any thread.
    package nonisolated var status: AMQPConnectionStatus {
        statusNow.withLock { $0 }
    }

    /// Publishes messages in order, and returns the outcome of each, in the same order.
    ///
    /// Returns as soon as all have one, at the deadline at the latest; what has none by then is `timedOut`, also while
    /// the broker is blocked or away. Cancelling the task doesn't end it sooner. What has no answer yet when the
    /// connection breaks is `connectionLost`, with all that stands behind it in its call: so no message overtakes one
    /// before it. Calls of which nothing was sent yet go out over the next connection. After ``close(deadline:)`` all
    /// are `connectionLost` at once.
    package nonisolated func publish(
        _ messages: [AMQPMessage],
        deadline: ContinuousClock.Instant
    ) async -> [PublishOutcome] {
        guard !messages.isEmpty else { return [] }
        let id = lastBatch.wrappingAdd(1, ordering: .relaxed).newValue
        // Not isolated to the actor's thread, which may be the one that is stuck.
        let timer = Task { [weak self, callGuard] in
            try await Task.sleep(until: deadline, clock: .continuous)
            await callGuard.interruptStuckCall()
            await self?.expire(id)
        }
        defer { timer.cancel() }
        return await submit(id, messages, deadline: deadline)
    }

    private func submit(
        _ id: UInt64,
        _ messages: [AMQPMessage],
        deadline: ContinuousClock.Instant
    ) async -> [PublishOutcome] {
        let refusals = messages.map { $0.refusal(maximumBodyBytes: maximumBodyBytes) }
        let unsettled = refusals.count { $0 == nil }
        if unsettled == 0 || isClosed || deadline.isPast {
            return refusals.map { $0 ?? (isClosed ? .connectionLost : .timedOut) }
        }
        return await withCheckedContinuation { continuation in
            batches[id] = Batch(
                messages: messages,
                deadline: deadline,
                continuation: continuation,
                outcomes: refusals,
                unsettled: unsettled
            )
            sendOrder.append(id)
            connectIfNeeded()
            pump()
        }
    }

    /// Returns once a connection is open; opens one when there is none.
    ///
    /// Throws the reason as soon as it is one that waiting won't cure (a refused password, another topology), else
    /// `timedOut` with the last reason at the deadline.
    package func ensureConnected(deadline: ContinuousClock.Instant) async throws(AMQPError) {
        if isClosed { throw AMQPError(.closed, "the publisher has been closed") }
        if link != nil { return }
        let id = lastBatch.wrappingAdd(1, ordering: .relaxed).newValue
        let timer = Task { [weak self] in
            try await Task.sleep(until: deadline, clock: .continuous)
            await self?.giveUpWaiting(id)
        }
        defer { timer.cancel() }
        let failure = await withCheckedContinuation { continuation in
            connectionWaiters[id] = continuation
            connectIfNeeded()
        }
        if let failure { throw failure }
    }

    /// Refuses new messages, waits for those under way until the deadline, and says goodbye to the broker.
    package func close(deadline: ContinuousClock.Instant) async {
        isClosed = true
        while !batches.isEmpty, !deadline.isPast {
            do {
                try await Task.sleep(for: .milliseconds(5))
            } catch {
                break
            }
        }
        for id in Array(batches.keys) { finish(id, default: .timedOut) }
        endWaiting(AMQPError(.closed, "the publisher has been closed"))
        // A blocked broker reads nothing, so it can't answer a goodbye.
        if !isBlocked { link?.close(deadline: min(deadline, .now + .seconds(1))) }
        dropLink(because: AMQPError(.closed, "the publisher has been closed"))
    }

    // MARK: Connection

    private var isNeeded: Bool {
        !isClosed && (!batches.isEmpty || !connectionWaiters.isEmpty)
    }

    private func connectIfNeeded() {
        guard link == nil, !isConnecting, isNeeded else { return }
        isConnecting = true
        Task { await connect() }
    }

    /// Tries until there is a connection, or nobody waits for one.
    private func connect() async {
        while isNeeded {
            if mustPause { try? await Task.sleep(for: backoff.next()) }
            mustPause = true
            do throws(AMQPError) {
                let link = try await connector.open(for: .publish)
                isConnecting = false
                return adopt(link)
            } catch {
                report(failure: error)
            }
        }
        isConnecting = false
    }

    private func adopt(_ link: Link) {
        guard !isClosed else { return }
        self.link = link
        connectedAt = .now
        setStatus(.connected)
        callGuard.attach(link.descriptor)
        executor.watch(link.descriptor, tick: configuration.tick) { [weak self] in
            self?.assumeIsolated { $0.onSocketEvent() }
        }
        logger.info("connected to the broker", metadata: ["broker": "\(configuration)"])
        endWaiting(nil)
        pump()
    }

    private func report(failure: AMQPError) {
        logger.warning("can't connect to the broker", metadata: ["error": "\(failure)"])
        setStatus(.disconnected(failure))
        if !failure.isRetryable { endWaiting(failure) }
    }

    private func endWaiting(_ failure: AMQPError?) {
        for waiter in connectionWaiters.values { waiter.resume(returning: failure) }
        connectionWaiters = [:]
    }

    private func giveUpWaiting(_ id: UInt64) {
        let reason = if case .disconnected(let error?) = status { "; last: \(error)" } else { "" }
        let failure = AMQPError(.timedOut, "no connection to the broker by the deadline\(reason)")
        connectionWaiters.removeValue(forKey: id)?.resume(returning: failure)
    }

    private func dropLink(because error: AMQPError) {
        guard link != nil else { return setStatus(.disconnected(error)) }
        executor.unwatch()
        callGuard.attach(nil)
        link = nil
        isBlocked = false
        if connectedAt.duration(to: .now) > Self.goodConnectionAge { backoff.reset() }
        setStatus(.disconnected(error))
        if !isClosed { logger.warning("lost the broker", metadata: ["error": "\(error)"]) }
        apply(window.connectionLost())
        for (id, batch) in batches where batch.next > 0 { finish(id, default: .connectionLost) }
        connectIfNeeded()
    }

    private func setStatus(_ status: AMQPConnectionStatus) {
        statusNow.withLock { $0 = status }
    }

    // MARK: Sending and settling

    private func onSocketEvent() {
        do {
            try receive()
        } catch {
            return dropLink(because: error)
        }
        if let oldest = window.oldest, !isBlocked, oldest.duration(to: .now) > Self.maximumConfirmAge {
            return dropLink(because: AMQPError(.timedOut, "the broker doesn't confirm"))
        }
        pump()
    }

    /// Takes in all that the broker has said.
    private func receive() throws(AMQPError) {
        guard let link else { return }
        while let event = try callGuard.run({ () throws(AMQPError) in try link.nextEvent() }) {
            switch event {
            case .acknowledged(let tag, let multiple): apply(window.acknowledged(tag, multiple: multiple))
            case .refused(let tag, let multiple): apply(window.refused(tag, multiple: multiple))
            case .returned(let identity, let code, let reason):
                window.returned(identity, code: code, reason: reason)
            case .blocked(let reason):
                logger.warning("the broker accepts no messages", metadata: ["reason": "\(reason)"])
                isBlocked = true
                setStatus(.blocked(reason: reason))
            case .unblocked:
                isBlocked = false
                setStatus(.connected)
            case .delivered, .consumerCancelled, .cancelAccepted: break
            }
            guard link.readiness().isReadable else { return }
        }
    }

    /// Sends what the window, the socket and the broker take; the rest goes out when an answer has come.
    private func pump() {
        guard let sending = link, !sendOrder.isEmpty, window.count < maximumUnconfirmed else { return }
        // In full segments: many small ones cost the broker as many reads.
        sending.holdBack(true)
        defer { sending.holdBack(false) }
        do {
            while let link, window.count < maximumUnconfirmed, !sendOrder.isEmpty {
                let readiness = link.readiness()
                if readiness.isReadable { try receive() }
                guard !isBlocked, readiness.isWritable, try sendNext(over: link) else { return }
            }
        } catch {
            dropLink(because: error)
        }
    }

    /// Sends the next message of the first batch; returns whether it makes sense to go on.
    private func sendNext(over link: Link) throws(AMQPError) -> Bool {
        guard let id = sendOrder.first, var batch = batches[id] else {
            return sendOrder.popFirst() != nil
        }
        // Its timer is waiting for this thread.
        if batch.deadline.isPast { return false }
        while batch.next < batch.messages.count, batch.outcomes[batch.next] != nil { batch.next += 1 }
        guard batch.next < batch.messages.count else {
            sendOrder.removeFirst()
            return true
        }
        let message = batch.messages[batch.next]
        let identity = ConfirmWindow.Identity(
            exchange: message.exchange,
            routingKey: message.routingKey,
            messageID: message.messageID
        )
        // Noted before it is sent: half of it may reach the broker.
        window.sent(.init(batch: id, index: batch.next), identity: identity, at: .now)
        batches[id]?.next = batch.next + 1
        try callGuard.run { () throws(AMQPError) in try link.publish(message) }
        return true
    }

    private func apply(_ settlements: [ConfirmWindow.Settlement]) {
        for settlement in settlements {
            let id = settlement.ticket.batch
            guard batches[id]?.outcomes[settlement.ticket.index] == nil else { continue }
            batches[id]?.outcomes[settlement.ticket.index] = settlement.outcome
            batches[id]?.unsettled -= 1
            if batches[id]?.unsettled == 0 { finish(id, default: .timedOut) }
        }
    }

    private func expire(_ id: UInt64) {
        finish(id, default: .timedOut)
        pump()
    }

    /// Answers the caller of a batch; answers that come later find nobody.
    private func finish(_ id: UInt64, default outcome: PublishOutcome) {
        guard let batch = batches.removeValue(forKey: id) else { return }
        sendOrder.removeAll { $0 == id }
        batch.continuation.resume(returning: batch.outcomes.map { $0 ?? outcome })
    }
}
