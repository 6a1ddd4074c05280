import AMQP
import Backoff
import Foundation
import OrderStore
import Postgres

/// One database session of the relay: the shards that it has locked and how far each has been confirmed.
///
/// Locks and cursors live on one connection, so whoever has lost the locks cannot move a cursor any more.
struct RelaySession {
    /// The next events of one shard.
    struct Page {
        let shard: Int16
        let entries: [OutboxStore.Entry]
    }

    let connection: PostgresConnection
    private var cursors: [Int16: OutboxStore.Cursor] = [:]
    private var housekeptAt: ContinuousClock.Instant?
    private var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
    private var pausedUntil: ContinuousClock.Instant?

    init(connection: PostgresConnection) {
        self.connection = connection
    }

    var isHousekeepingDue: Bool {
        housekeptAt.map { $0.duration(to: .now) >= OutboxRelay.housekeepingInterval } ?? true
    }

    var mayPublish: Bool {
        pausedUntil.map { $0 <= .now } ?? true
    }

    mutating func pause() {
        pausedUntil = .now + backoff.next()
    }

    mutating func resume() {
        backoff.reset()
        pausedUntil = nil
    }

    /// Takes every shard that no other relay has.
    mutating func lockFreeShards(deadline: ContinuousClock.Instant) async throws {
        housekeptAt = .now
        for shard in OutboxStore.shards where cursors[shard] == nil {
            guard try await OutboxStore.tryLock(shard: shard, on: connection, deadline: deadline) else { continue }
            cursors[shard] = try await OutboxStore.cursor(of: shard, on: connection, deadline: deadline)
        }
    }

    /// Aims every shard that is done with its last snapshot at what is visible now.
    mutating func look(deadline: ContinuousClock.Instant) async throws {
        guard !cursors.isEmpty else { return }
        let now = try await OutboxStore.currentSnapshot(on: connection, deadline: deadline)
        for shard in cursors.keys where cursors[shard]?.isAtRest == true {
            cursors[shard]?.target = now
        }
    }

    /// The next page of every shard that has one.
    ///
    /// - Parameter timeout: how long each shard's query may take.
    mutating func pages(timeout: Duration) async throws -> [Page] {
        var pages: [Page] = []
        for (shard, cursor) in cursors.sorted(by: { $0.key < $1.key }) where !cursor.isAtRest {
            let entries = try await OutboxStore.page(cursor, on: connection, deadline: .now + timeout)
            if entries.isEmpty {
                // Not saved: an older base finds nothing more than this one, and an idle relay writes nothing.
                cursors[shard]?.finish()
            } else {
                pages.append(Page(shard: shard, entries: entries))
            }
        }
        return pages
    }

    /// Moves each shard's cursor up to its first event that was not confirmed, and saves it.
    ///
    /// - Parameter outcomes: one for each event of the pages, in order.
    mutating func settle(
        _ pages: [Page],
        _ outcomes: [PublishOutcome],
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws {
        var outcomes = outcomes[...]
        for page in pages {
            let confirmed = outcomes.prefix(page.entries.count).prefix { $0 == .confirmed }.count
            outcomes = outcomes.dropFirst(page.entries.count)
            guard confirmed > 0, var cursor = cursors[page.shard] else { continue }
            cursor.afterID = page.entries[confirmed - 1].id
            if confirmed == page.entries.count, page.entries.count < OutboxStore.pageLimit {
                cursor.finish()
            }
            try await OutboxStore.save(cursor, at: now, on: connection, deadline: deadline)
            cursors[page.shard] = cursor
        }
    }
}

extension OutboxStore.Cursor {
    /// Everything up to `target` is confirmed.
    fileprivate mutating func finish() {
        base = target
        afterID = 0
    }
}
