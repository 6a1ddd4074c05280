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
/// Woken by each commit of this process; what others commit it finds within ``pollInterval``. Nothing is marked as
/// sent before the broker has confirmed it. While the broker is away the events wait, however long.
struct OutboxRelay: Service {
    /// How long an event of another process waits at most until it is looked for.
    static let pollInterval = Duration.milliseconds(50)
    /// How often shards that nobody works on are looked for, and the gauges are brought up to date.
    static let housekeepingInterval = Duration.seconds(1)
    /// How long the broker may take for a round; what is not confirmed by then is sent again. Shorter than a shutdown
    /// may take, so that the round under way can be finished.
    static let publishTimeout = Duration.seconds(5)
    private static let queryTimeout = Duration.seconds(5)

    private let database: PostgresConfiguration
    private let publisher: AMQPPublisher
    private let metrics: RelayMetrics
    private let logger: Logger
    private let wakeUps: AsyncStream<Void>
    private let wakeUp: AsyncStream<Void>.Continuation

    init(database: PostgresConfiguration, publisher: AMQPPublisher, metrics: RelayMetrics, logger: Logger) {
        self.database = database
        self.publisher = publisher
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
                // Not a child that is cancelled: what has been published is also marked so before the end.
                await relayUntilFinished()
                group.cancelAll()
            }
        } onGracefulShutdown: { [wakeUp] in
            wakeUp.finish()
        }
        await publisher.close(deadline: .now + .seconds(2))
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
                var session = RelaySession(
                    connection: try await PostgresConnection.connect(
                        database,
                        deadline: .now + OutboxRelay.queryTimeout
                    )
                )
                repeat {
                    try await round(&session)
                    backoff.reset()
                } while await iterator.next() != nil
                await session.connection.close()
                return
            } catch {
                logger.warning("relay begins again", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Sends everything that is visible now.
    private func round(_ session: inout RelaySession) async throws {
        if session.isHousekeepingDue { try await housekeep(&session) }
        guard session.mayPublish else { return }
        try await session.look(deadline: .now + OutboxRelay.queryTimeout)
        while true {
            let pages = try await session.pages(timeout: OutboxRelay.queryTimeout)
            let entries = pages.flatMap(\.entries)
            guard !entries.isEmpty else { return }
            let messages = try entries.map { try AMQPMessage(event: $0.event) }
            let outcomes = await publisher.publish(messages, deadline: .now + OutboxRelay.publishTimeout)
            for outcome in outcomes { metrics.count(outcome) }
            try await session.settle(pages, outcomes, at: Date(), deadline: .now + OutboxRelay.queryTimeout)
            if let failure = outcomes.first(where: { $0 != .confirmed }) {
                // The rest stays where it is: the broker's trouble costs an event nothing but time.
                logger.warning("events wait for the broker", metadata: ["outcome": "\(failure)"])
                session.pause()
                return
            }
            session.resume()
        }
    }

    private func housekeep(_ session: inout RelaySession) async throws {
        try await session.lockFreeShards(deadline: .now + OutboxRelay.queryTimeout)
        let pending = try await OutboxStore.pending(
            on: session.connection,
            deadline: .now + OutboxRelay.queryTimeout
        )
        metrics.pending.set(Double(pending.count))
        metrics.oldestPendingAge.set(pending.oldest.map { max(0, Date().timeIntervalSince($0)) } ?? 0)
    }
}

extension AMQPMessage {
    /// An event on its way to the broker.
    fileprivate init(event: OutboxEvent) throws {
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
