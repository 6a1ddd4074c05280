import AMQP
import Foundation
import OrderStore
import Postgres

/// One database session of the relay, and the shards that it has locked.
///
/// Locks and confirmations go over one connection, so whoever has lost the locks cannot confirm anything any more.
struct RelaySession {
    /// How many events of a shard are looked at ahead. A large backlog is sorted once for so many, not for each round.
    private static let lookahead = 10_000
    /// How many events are sent in one round.
    private static let roundLimit = 1_000
    /// After how long without the broker a relay leaves its shards to others, who may reach it.
    private static let brokerPatience = Duration.seconds(5)

    /// The next events of the shards that have any.
    struct Round {
        /// Of each shard, up to which id it has been read.
        fileprivate let ends: [Int16: Int64]
        let entries: [OutboxStore.Entry]

        var isEmpty: Bool { ends.isEmpty }
    }

    /// How a round ended for those of its shards that could not send everything.
    struct Setback {
        let shard: Int16
        let event: OutboxEvent
        let outcome: PublishOutcome
        /// Whether the shard's last round was a good one.
        let isFirst: Bool
    }

    let connection: PostgresConnection
    private(set) var openTransaction = OpenTransaction()
    private var shards: [Int16: RelayShard] = [:]
    private var isRelay = true
    private var withoutBrokerSince: ContinuousClock.Instant?

    /// Opens a session that counts as a relay.
    static func begin(_ database: PostgresConfiguration, timeout: Duration) async throws -> RelaySession {
        let connection = try await PostgresConnection.connect(database, deadline: .now + timeout)
        try await OutboxStore.enlist(connection, deadline: .now + timeout)
        return RelaySession(connection: connection)
    }

    private init(connection: PostgresConnection) {
        self.connection = connection
    }

    /// The shards that this session has.
    var ownedShards: [Int16] { shards.keys.sorted() }

    /// How many shards wait for a queue that takes their next event.
    var heldShards: Int { shards.values.count { $0.isHeld } }

    /// Takes or gives back shards, so that each relay that reaches the broker has its share.
    mutating func balance(reachesBroker: Bool, at now: Date, timeout: Duration) async throws {
        withoutBrokerSince = reachesBroker ? nil : withoutBrokerSince ?? .now
        if let withoutBrokerSince, withoutBrokerSince.duration(to: .now) > RelaySession.brokerPatience {
            guard isRelay else { return }
            isRelay = false
            shards = [:]
            return try await OutboxStore.resign(connection, deadline: .now + timeout)
        }
        if !isRelay {
            try await OutboxStore.enlist(connection, deadline: .now + timeout)
            isRelay = true
        }
        let relays = try await OutboxStore.relays(on: connection, deadline: .now + timeout)
        let share = (OutboxStore.shards.count + relays.count - 1) / max(1, relays.count)
        if shards.count > share {
            let surplus = Array(ownedShards.dropFirst(share))
            try await OutboxStore.release(surplus, on: connection, deadline: .now + timeout)
            for shard in surplus { shards[shard] = nil }
        } else if shards.count < share, !relays.freeShards.isEmpty {
            // Relays that begin at once do not all try the same ones.
            let wanted = Array(relays.freeShards.shuffled().prefix(share - shards.count))
            let cursors = try await OutboxStore.take(wanted, at: now, on: connection, deadline: .now + timeout)
            for cursor in cursors { shards[cursor.shard] = RelayShard(cursor) }
        }
    }

    /// Reads the next events of all shards that may send.
    mutating func nextRound(timeout: Duration) async throws -> Round {
        try await lookAhead(deadline: .now + timeout)
        let ready = shards.filter { $0.value.mayPublish && !$0.value.places.isEmpty }
        let share = max(1, RelaySession.roundLimit / max(1, ready.count))
        let places = ready.mapValues { $0.places.prefix(share) }
        let entries =
            places.isEmpty
            ? []
            : try await OutboxStore.events(
                at: places.values.flatMap { $0 },
                on: connection,
                deadline: .now + timeout
            )
        return Round(ends: places.compactMapValues { $0.last?.id }, entries: entries)
    }

    /// Looks for events in the shards that have sent all that they knew of.
    private mutating func lookAhead(deadline: ContinuousClock.Instant) async throws {
        let cursors = shards.values.filter { $0.places.isEmpty && $0.mayPublish }.map(\.cursor)
        guard !cursors.isEmpty else { return }
        let views = try await OutboxStore.look(
            cursors,
            limit: RelaySession.lookahead,
            on: connection,
            deadline: deadline
        )
        for view in views {
            openTransaction.observe(view.target, at: .now)
            shards[view.shard]?.take(view, isCut: view.places.count == RelaySession.lookahead)
        }
    }

    /// Moves each shard up to its first event that the broker has not taken, and notes it; parks what it never will.
    ///
    /// - Parameter outcomes: one for each entry of the round, in order.
    /// - Returns: where the broker has not taken an event: that shard pauses.
    mutating func settle(
        _ round: Round,
        _ outcomes: [PublishOutcome],
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws -> [Setback] {
        var setbacks: [Int16: Setback] = [:]
        var lastSettled: [Int16: Int64] = [:]
        var parked: [(entry: OutboxStore.Entry, reason: String)] = []
        for (entry, outcome) in zip(round.entries, outcomes) where setbacks[entry.shard] == nil {
            if let reason = outcome.refusal { parked.append((entry, reason)) }
            if outcome == .confirmed || outcome.refusal != nil {
                lastSettled[entry.shard] = entry.id
            } else {
                setbacks[entry.shard] = Setback(
                    shard: entry.shard,
                    event: entry.event,
                    outcome: outcome,
                    isFirst: shards[entry.shard]?.isTroubled == false
                )
            }
        }
        var moved: [OutboxStore.Cursor] = []
        for (shard, end) in round.ends {
            if let setback = setbacks[shard] { shards[shard]?.pause(because: setback.outcome) }
            guard let settled = setbacks[shard] == nil ? end : lastSettled[shard] else { continue }
            if setbacks[shard] == nil { shards[shard]?.resume() }
            if let cursor = shards[shard]?.settle(through: settled) { moved.append(cursor) }
        }
        if !moved.isEmpty {
            try await OutboxStore.save(moved, parking: parked, at: now, on: connection, deadline: deadline)
        }
        return setbacks.values.sorted { $0.shard < $1.shard }
    }

    /// Notes where idle shards stand: nothing was confirmed, but the slots behind them can be emptied.
    mutating func checkpoint(at now: Date, deadline: ContinuousClock.Instant) async throws {
        let moved = ownedShards.compactMap { shards[$0]?.checkpoint() }
        guard !moved.isEmpty else { return }
        try await OutboxStore.save(moved, at: now, on: connection, deadline: deadline)
    }
}

extension PublishOutcome {
    /// Why the event can never be sent as it is; nil when it can.
    fileprivate var refusal: String? {
        switch self {
        case .tooLarge: "the event is too large for the broker"
        case .invalid(let reason): reason
        case .confirmed, .nacked, .returned, .timedOut, .connectionLost: nil
        }
    }
}
