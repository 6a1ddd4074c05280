import DequeModule
import ThreadExecutor

/// Goes through a queue from its head, message by message, and leaves there what it isn't told to remove.
///
/// It sees at most what was ready when it began, so messages that come back meanwhile don't make it endless. What is
/// not removed goes back in its old order when the walk ends, also when its process dies: the broker still has it all.
/// Bodies aren't kept: at most one step's worth of messages is here, see ``maximumStep``. Over a connection of its own,
/// without reconnecting: when the connection breaks the walk is over.
///
/// While a walk goes on, nobody else is given the messages that it has seen.
package actor AMQPQueueWalk {
    /// How many messages the first step asks for; each further one asks for twice as many.
    package static let firstStep = 1_000
    /// The most messages that a step asks for, which is what AMQP's prefetch can say.
    package static let maximumStep = 65_535
    /// When nothing comes for this long, the queue is asked whether it has anything left.
    private static let quietTime = Duration.milliseconds(200)
    /// The same while some are missing that were there at the start.
    private static let missingTime = Duration.seconds(2)
    /// How long the broker may take to put back what the walk hands back.
    private static let returnLimit = Duration.seconds(5)
    /// How long the end of a walk may take to keep the queue's order, see ``end(deadline:)``.
    private static let orderLimit = Duration.seconds(10)

    private nonisolated let executor = ThreadExecutor()
    private let queue: String
    private let configuration: AMQPConfiguration
    private var step: Int
    private var link: Link?
    private var failure: AMQPError?

    private var readyAtStart = 0
    private var consumersAtStart = 0
    private var handedOut = 0
    private var arrived = 0
    private var buffer: Deque<AMQPDelivery> = []
    private var unsettled: Set<UInt64> = []
    private var consumerTags: [String] = []
    /// Messages that the broker would still send without being asked again.
    private var credit = 0
    private var lastWasRedelivered = false
    private var lastArrival = ContinuousClock.now

    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    /// What the queue looked like when a walk began.
    package struct Start: Sendable {
        /// The messages that the walk will see.
        package let messages: Int
        /// Whether somebody else takes messages from the queue: then the walk won't see those.
        package let isBusy: Bool
    }

    /// Creates a walk; ``begin(deadline:)`` connects.
    package init(queue: String, configuration: AMQPConfiguration) {
        self.init(queue: queue, configuration: configuration, firstStep: Self.firstStep)
    }

    init(queue: String, configuration: AMQPConfiguration, firstStep: Int) {
        self.queue = queue
        self.configuration = configuration
        step = firstStep
    }

    deinit {
        executor.stop()
    }

    /// Connects and looks how much there is. Throws `channelClosed(404)` when there is no such queue.
    package func begin(deadline: ContinuousClock.Instant) async throws(AMQPError) -> Start {
        let opened = try Link.open(configuration, deadline: deadline)
        let depth = try opened.depth(of: queue, deadline: deadline)
        link = opened
        readyAtStart = depth.ready
        consumersAtStart = depth.consumers
        executor.watch(opened.descriptor, tick: configuration.tick) { [weak self] in
            self?.assumeIsolated { $0.onSocketEvent() }
        }
        return Start(messages: depth.ready, isBusy: depth.consumers > 0)
    }

    /// The next message; `nil` when all that was there at the start has been seen, or somebody else has the rest.
    ///
    /// Throws when the connection breaks, or nothing comes by the deadline although there is something.
    package func next(deadline: ContinuousClock.Instant) async throws(AMQPError) -> AMQPDelivery? {
        guard handedOut < readyAtStart else { return nil }
        guard let delivery = try await take(deadline: deadline) else { return nil }
        handedOut += 1
        return delivery
    }

    /// Makes the broker forget a message. Throws `staleDelivery` when it is gone already, or the walk has ended.
    package func remove(_ delivery: AMQPDelivery) async throws(AMQPError) {
        guard let link, unsettled.remove(delivery.tag) != nil else {
            throw AMQPError(.staleDelivery, "removed already, or the walk has ended")
        }
        do throws(AMQPError) {
            guard link.readiness().isWritable else { throw AMQPError(.connectionLost, "the broker doesn't read") }
            try link.acknowledge(delivery.tag)
            credit += 1
        } catch {
            drop(because: error)
            throw error
        }
    }

    /// Hands back what was not removed, and disconnects; returns once the messages are in the queue again.
    ///
    /// When it throws, some of what was removed may still be there, and the broker puts back all the rest by itself as
    /// soon as it notices that the connection is gone. When it returns, what was removed is gone. The order of what
    /// stays is kept, unless that would take longer than 10 s: then what this walk has seen comes last among what
    /// earlier ones have handed back.
    package func end(deadline: ContinuousClock.Instant) async throws(AMQPError) {
        guard let link else { return }
        do throws(AMQPError) {
            // A channel does one thing after another: with the answer it has taken in every acknowledgement.
            if !consumerTags.isEmpty { _ = try link.depth(of: queue, deadline: deadline) }
        } catch {
            drop(because: error)
            throw error
        }
        await takeWhatWasHandedBack(until: min(deadline, .now + Self.orderLimit))
        executor.unwatch()
        // The end of the channel hands back everything in its order, which giving back one by one does not.
        self.link?.close(deadline: min(deadline, .now + .seconds(1)))
        self.link = nil
        if !consumerTags.isEmpty { await waitUntilReturned(deadline: deadline) }
        drop(because: AMQPError(.closed, "the walk has ended"))
    }

    /// A queue gives out first what was handed back to it, and what is handed back joins the end of that. Unless all of
    /// it is here, its order changes; that harms nobody, so nothing fails of it.
    private func takeWhatWasHandedBack(until limit: ContinuousClock.Instant) async {
        buffer.removeAll()
        do throws(AMQPError) {
            while lastWasRedelivered, !limit.isPast, try await take(deadline: limit) != nil { buffer.removeAll() }
        } catch {
            // The broker is away, or too slow: it puts back what is here in either case.
        }
    }

    // MARK: Taking

    private func take(deadline: ContinuousClock.Instant) async throws(AMQPError) -> AMQPDelivery? {
        lastArrival = .now
        while true {
            if let failure { throw failure }
            if let delivery = buffer.popFirst() { return delivery }
            if credit == 0 { try askForMore(deadline: deadline) }
            try receive()
            guard buffer.isEmpty else { continue }
            guard !deadline.isPast else { throw AMQPError(.timedOut, "the broker sends no messages") }
            let patience = arrived < readyAtStart ? Self.missingTime : Self.quietTime
            if lastArrival.duration(to: .now) > patience, try isDrained(deadline: deadline) { return nil }
            // Others of this actor may have their turn: an acknowledgement, a heartbeat.
            await Task.yield()
        }
    }

    /// Another consumer with a credit of its own: one alone could have no more than a prefetch of messages unsettled.
    ///
    /// Tags of equal length: the broker hands back consumer by consumer, in the order of their tags.
    private func askForMore(deadline: ContinuousClock.Instant) throws(AMQPError) {
        guard let link else { throw AMQPError(.connectionLost, "there is no connection") }
        let prefetch = min(step, Self.maximumStep)
        let tag = "walk-\(100_000 + consumerTags.count)"
        try keep { () throws(AMQPError) in
            try link.consume(queue, prefetch: UInt16(prefetch), consumerTag: tag, deadline: deadline)
        }
        consumerTags.append(tag)
        credit += prefetch
        step = min(step * 2, Self.maximumStep)
        lastArrival = .now
    }

    private func isDrained(deadline: ContinuousClock.Instant) throws(AMQPError) -> Bool {
        guard let link else { throw AMQPError(.connectionLost, "there is no connection") }
        lastArrival = .now
        let depth = try keep { () throws(AMQPError) in try link.depth(of: queue, deadline: deadline) }
        // What was on its way before the first answer is here with the second one.
        _ = try keep { () throws(AMQPError) in try link.depth(of: queue, deadline: deadline) }
        try receive()
        return depth.ready == 0 && buffer.isEmpty
    }

    private func receive() throws(AMQPError) {
        guard let link else { return }
        try keep { () throws(AMQPError) in
            while let event = try link.nextEvent() {
                switch event {
                case .delivered(let content): note(content)
                case .consumerCancelled: throw AMQPError(.consumerCancelled, "the queue was deleted")
                case .acknowledged, .refused, .returned, .cancelAccepted, .blocked, .unblocked: break
                }
                guard link.readiness().isReadable else { return }
            }
        }
    }

    private func note(_ content: IncomingContent) {
        guard case .delivery(let tag, let redelivered) = content.origin else { return }
        unsettled.insert(tag)
        credit -= 1
        arrived += 1
        lastWasRedelivered = redelivered
        lastArrival = .now
        buffer.append(AMQPDelivery(content, generation: 0, tag: tag, redelivered: redelivered))
    }

    /// Waits until the queue has noticed: it puts the messages back as it lets go of the consumers. It does so also
    /// where nobody can watch it.
    private func waitUntilReturned(deadline: ContinuousClock.Instant) async {
        let limit = min(deadline, .now + Self.returnLimit)
        do throws(AMQPError) {
            let observer = try Link.open(configuration, deadline: limit)
            while !limit.isPast, try observer.depth(of: queue, deadline: limit).consumers > consumersAtStart {
                try? await Task.sleep(for: .milliseconds(5))
            }
            observer.close(deadline: min(deadline, .now + .seconds(1)))
        } catch {
            // The broker went away after it had taken everything in.
        }
    }

    // MARK: Connection

    /// Keeps the heartbeats going while nobody asks for messages.
    private func onSocketEvent() {
        // What went wrong is kept for who asks next.
        try? receive()
    }

    private func keep<Answer>(_ call: () throws(AMQPError) -> Answer) throws(AMQPError) -> Answer {
        do throws(AMQPError) {
            return try call()
        } catch {
            drop(because: error)
            throw error
        }
    }

    private func drop(because error: AMQPError) {
        executor.unwatch()
        link = nil
        failure = failure ?? error
        unsettled.removeAll()
        buffer.removeAll()
    }
}
