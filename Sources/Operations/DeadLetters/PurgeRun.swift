import AMQP
import Foundation
import OrderStore
package import Postgres

/// Removes the dead letters of a group for good, batch by batch: noted in the database, then removed. Killed in between
/// it has noted some that are still there; said again it removes them.
package final class PurgeRun {
    /// The most dead letters that are noted at once.
    private static let maximumBatch = 200
    private static let queryTimeout = Duration.seconds(10)

    private let group: String
    private let requestedBy: String
    private let queue: DeadLetterQueue
    private let database: PostgresConnection
    private let stop: StopRequest
    private var batch: [DeadLetter] = []
    /// How many are removed.
    package private(set) var removed = 0

    /// Prepares a run for whoever wants it.
    package init(
        group: String,
        requestedBy: String,
        queue: DeadLetterQueue,
        database: PostgresConnection,
        stop: StopRequest
    ) {
        self.group = group
        self.requestedBy = requestedBy
        self.queue = queue
        self.database = database
        self.stop = stop
    }

    /// Removes until all of the group are gone, or the request to stop comes; throws when a server is away. What could
    /// not be noted is not removed.
    package func run() async throws {
        try await queue.walk(
            { letter, walk in
                guard !stop.isRequested else { return false }
                guard letter.group == group else { return true }
                batch.append(letter)
                if batch.count == Self.maximumBatch { try await flush(walk) }
                return true
            },
            end: { walk in try await flush(walk) }
        )
    }

    private func flush(_ walk: AMQPQueueWalk) async throws {
        defer { batch = [] }
        try await PurgeStore.record(
            batch.compactMap(\.key),
            purgedBy: requestedBy,
            at: Date(),
            on: database,
            deadline: .now + Self.queryTimeout
        )
        for letter in batch {
            try await walk.remove(letter.delivery)
            removed += 1
        }
    }
}

extension DeadLetter {
    /// What it can be noted by; nil when it names no event or no order.
    fileprivate var key: DeliveryStore.EventKey? {
        guard let event = UUID(uuidString: eventID), let orderID else { return nil }
        return .init(orderID: orderID, eventID: event)
    }
}
