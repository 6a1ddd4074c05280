import AMQP
import Backoff
import EventTopology
import Foundation
import Logging
import OpsMetrics
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceLifecycle

/// Brings the outbox's events to the broker, each at least once, those of one order in their order.
///
/// Woken by each commit of this process; what others commit it finds within ``pollInterval``. Nothing is noted as
/// sent before the broker has confirmed it. While the broker is away the events wait, however long. The relays of all
/// processes divide the shards; those of one that dies are taken over within a second.
struct OutboxRelay: Service {
    /// How long an event of another process waits at most until it is looked for.
    static let pollInterval = Duration.milliseconds(50)
    /// How often the shards are divided anew, if a relay has come or gone.
    static let balanceInterval = Duration.milliseconds(500)
    /// How often idle shards note how far they have come.
    static let checkpointInterval = Duration.seconds(60)
    /// From so many events in a round on they come fast enough to be gathered.
    private static let fastRound = 32
    /// How long a round of events that come fast begins after the last one: a few large rounds cost the broker and the
    /// database much less than many small ones.
    private static let gatherInterval = Duration.milliseconds(25)
    /// How long the broker may take for a round; what is not confirmed by then is sent again. Shorter than a shutdown
    /// may take, so that the round under way can be finished, and than the server waits for an idle session.
    static let publishTimeout = Duration.seconds(5)
    private static let queryTimeout = Duration.seconds(5)
    private static let declareTimeout = Duration.seconds(2)
    private static let connectTimeout = Duration.seconds(1)

    private let database: PostgresConfiguration
    private let publisher: AMQPPublisher
    private let inspector: AMQPInspector
    private let metrics: RelayMetrics
    private let logger: Logger
    private let wakeUps: AsyncStream<Void>
    private let wakeUp: AsyncStream<Void>.Continuation

    /// - Parameter inspector: declares the topology again when an event comes back; nobody else needs it.
    init(
        database: PostgresConfiguration,
        publisher: AMQPPublisher,
        inspector: AMQPInspector,
        metrics: RelayMetrics,
        logger: Logger
    ) {
        self.database = database
        self.publisher = publisher
        self.inspector = inspector
        self.metrics = metrics
        self.logger = logger
        (wakeUps, wakeUp) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Says that there may be something to send; safe from anywhere, returns at once.
    @Sendable func wake() {
        wakeUp.yield()
    }

    /// Relays until shutdown; the round under way is finished then.
    func run() async throws {
        await withGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await tick() }
                // Not a child that is cancelled: what has been published is also noted before the end.
                await relayUntilFinished()
                group.cancelAll()
            }
        } onGracefulShutdown: { [wakeUp] in
            wakeUp.finish()
        }
        await publisher.close(deadline: .now + .seconds(2))
        await inspector.close(deadline: .now + .seconds(1))
    }

    /// Wakes the relay for what other processes have committed; ends with the shutdown.
    private func tick() async {
        while !Task.isCancelled {
            if case .terminated = wakeUp.yield() { return }
            try? await Task.sleep(for: OutboxRelay.pollInterval)
        }
    }

    /// One database session after another, each with the shards that it could lock.
    private func relayUntilFinished() async {
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        var iterator = wakeUps.makeAsyncIterator()
        while await iterator.next() != nil {
            do {
                var session = try await RelaySession.begin(database, timeout: OutboxRelay.queryTimeout)
                var chores = Chores()
                repeat {
                    try await housekeep(&session, &chores)
                    // With more to send it comes again at once, unless it is to end.
                    if try await sendRound(&session) { wake() }
                    backoff.reset()
                } while await iterator.next() != nil
                try await session.save(at: Date(), timeout: OutboxRelay.queryTimeout)
                await session.connection.close()
                metrics.shardsOwned.set(0)
                return
            } catch {
                metrics.shardsOwned.set(0)
                logger.warning("relay begins again", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Sends the next events of each shard; false when there were none.
    private func sendRound(_ session: inout RelaySession) async throws -> Bool {
        let round = try await session.nextRound(timeout: OutboxRelay.queryTimeout)
        if round.isEmpty { return false }
        let sentAt = ContinuousClock.now
        async let answers = publisher.publish(
            round.entries.map { AMQPMessage(event: $0.event) },
            deadline: sentAt + OutboxRelay.publishTimeout
        )
        try await session.prepare(at: Date(), timeout: OutboxRelay.queryTimeout)
        let outcomes = await answers
        metrics.confirmDuration.observe(sentAt.duration(to: .now))
        for outcome in outcomes { metrics.count(outcome) }
        let setbacks = session.settle(round, outcomes)
        metrics.shardsHeld.set(Double(session.heldShards))
        await report(setbacks)
        if session.isDrained {
            try await session.save(at: Date(), timeout: OutboxRelay.queryTimeout)
            if round.entries.count >= OutboxRelay.fastRound {
                try? await Task.sleep(until: sentAt + OutboxRelay.gatherInterval, clock: .continuous)
            }
        }
        return true
    }

    /// Says what the broker has not taken, once until it goes on. What no queue is bound for may be so because a
    /// binding was removed: it is made again, as at every start.
    private func report(_ setbacks: [RelaySession.Setback]) async {
        guard let setback = setbacks.first(where: \.isFirst) ?? setbacks.first else { return }
        let isReturned = setbacks.contains { $0.outcome.isReturned }
        logger.log(
            level: !setback.isFirst ? .debug : isReturned ? .error : .warning,
            isReturned ? "events come back unroutable; their shards are held" : "events wait for the broker",
            metadata: [
                "outcome": "\(setback.outcome)", "event": "\(setback.event.id.text)",
                "shards": "\(setbacks.map(\.shard))",
            ]
        )
        guard isReturned else { return }
        do {
            try await inspector.declare(.orderEvents, deadline: .now + OutboxRelay.declareTimeout)
        } catch {
            logger.error("cannot make the bindings anew", metadata: ["error": "\(error)"])
        }
    }

    /// Whether there is a connection to the broker, which may be blocked for all; opens one where there is none.
    private func reachesBroker() async -> Bool {
        if case .disconnected = publisher.status {
            do {
                try await publisher.ensureConnected(deadline: .now + OutboxRelay.connectTimeout)
            } catch {
                return false
            }
        }
        return true
    }

    private func housekeep(_ session: inout RelaySession, _ chores: inout Chores) async throws {
        if chores.balance.isDue(every: OutboxRelay.balanceInterval) {
            try await session.balance(
                reachesBroker: await reachesBroker(),
                at: Date(),
                timeout: OutboxRelay.queryTimeout
            )
            metrics.shardsOwned.set(Double(session.ownedShards.count))
            metrics.openTransactionAge.set(session.openTransaction.age(at: .now) / .seconds(1))
        }
        if chores.checkpoint.isDue(every: OutboxRelay.checkpointInterval) {
            try await session.checkpoint(at: Date(), timeout: OutboxRelay.queryTimeout)
        }
    }
}

/// When a session has last done what it does from time to time.
private struct Chores {
    struct Chore {
        private var doneAt: ContinuousClock.Instant?

        /// True at first, and then once in each interval.
        mutating func isDue(every interval: Duration) -> Bool {
            let now = ContinuousClock.now
            if let doneAt, doneAt.duration(to: now) < interval { return false }
            doneAt = now
            return true
        }
    }

    var balance = Chore()
    var checkpoint = Chore()
}

extension PublishOutcome {
    fileprivate var isReturned: Bool {
        if case .returned = self { true } else { false }
    }
}

extension AMQPMessage {
    /// An event on its way to the broker.
    fileprivate init(event: OutboxEvent) {
        let envelope = OrderEvent(
            id: event.id,
            orderID: event.orderID,
            sequence: event.sequence,
            type: event.type,
            occurredAt: event.occurredAt,
            traceparent: event.traceparent,
            data: event.data
        )
        var headers: [String: AMQPField] = [
            EventHeaders.occurredAtMs: .int64(Int64((event.occurredAt.timeIntervalSince1970 * 1_000).rounded()))
        ]
        headers[EventHeaders.traceparent] = event.traceparent.map { .string($0) }
        self.init(
            exchange: BrokerNames.eventsExchange,
            routingKey: event.type,
            body: Array(envelope.encodedEnvelope().utf8),
            contentType: OrderEvent.contentType,
            messageID: event.id.text,
            type: event.type,
            appID: "jumun",
            timestamp: Int64(event.occurredAt.timeIntervalSince1970),
            headers: headers
        )
    }
}
