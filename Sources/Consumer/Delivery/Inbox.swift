import Backoff
import FoundationEssentials
import Logging
import OrderStore
import Postgres

/// What the platform has accepted already, in PostgreSQL; without it nothing is sent, since it could be a second time.
struct Inbox: Sendable {
    /// How long a look or a note may take.
    private static let timeout = Duration.seconds(2)
    /// How long events that the platform has, and that can't be noted, are kept in hand. Far below the broker's
    /// `consumer_timeout` of 30 min; afterwards they come again, and the platform drops the second by its id.
    static let holdLimit = Duration.seconds(600)

    let store: DeliveryStore
    let pool: PostgresPool
    let logger: Logger

    /// Which of the events need no request, and which must wait for others of their order.
    struct Answer: Sendable {
        let delivered: Set<UUID>
        let held: Set<DeliveryStore.EventPlace>
    }

    /// Looks up events, with one query, or two where order is kept; throws `PostgresError`.
    func look(for events: [ForwardedEvent], ordering: Ordering) async throws -> Answer {
        let deadline = ContinuousClock.now + Self.timeout
        let delivered = try await store.delivered(among: events.map(\.key), deadline: deadline)
        guard ordering == .key else { return Answer(delivered: delivered, held: []) }
        let places = events.lazy.filter { !delivered.contains($0.id) }.compactMap(\.place)
        return Answer(delivered: delivered, held: try await store.held(among: Array(places), deadline: deadline))
    }

    /// Notes what came of requests; tries until PostgreSQL takes it, for ``holdLimit`` at most.
    ///
    /// - Parameter onTrouble: is called once when it doesn't work at once.
    /// - Returns: whether it is noted; false also when the task has been cancelled.
    func note(
        delivered: [DeliveryStore.Delivered],
        failed: [DeliveryStore.Failed],
        onTrouble: () async -> Void
    ) async -> Bool {
        let end = ContinuousClock.now + Self.holdLimit
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        while true {
            do {
                try await store.record(delivered: delivered, failed: failed, deadline: .now + Self.timeout)
                return true
            } catch {
                if backoff.attempts == 0 {
                    logger.error("can't note deliveries; trying on", metadata: ["error": "\(error)"])
                    await onTrouble()
                }
            }
            guard .now < end, (try? await Task.sleep(for: backoff.next())) != nil else { return false }
        }
    }

    /// Returns when PostgreSQL answers; throws when the task is cancelled.
    func waitUntilReachable() async throws {
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        while true {
            do {
                try await pool.ping(deadline: .now + Self.timeout)
                return
            } catch {
                logger.warning("nothing is taken: PostgreSQL doesn't answer", metadata: ["error": "\(error)"])
            }
            try await Task.sleep(for: backoff.next())
        }
    }
}

extension ForwardedEvent {
    /// Nil when the event doesn't say.
    var place: DeliveryStore.EventPlace? {
        sequence.map { .init(orderID: orderID, sequence: $0) }
    }
}
