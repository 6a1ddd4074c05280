import AMQP
import Foundation
import OrderStore
import Postgres

/// One database session of the relay, and the shards that it has locked.
///
/// Locks and confirmations go over one connection, so whoever has lost the locks cannot confirm anything any more.
struct RelaySession {
    /// How many events of a shard are looked at ahead. A large backlog is gone through once for so many, not for each
    /// round.
    private static let lookahead = 20_000
    /// How long that may take: for a hundred million events.
    private static let lookTimeout = Duration.seconds(30)
    /// While some shards work off a backlog, the others are looked after this often.
    private static let lookInterval = Duration.milliseconds(50)
    /// How many events are sent in one round, at most and at least.
    private static let roundLimits = 16...1_000
    /// After how long without the broker a relay leaves its shards to others, who may reach it.
    private static let brokerPatience = Duration.seconds(5)

    /// The next events of the shards that have any.
    struct Round {
        /// Of each shard, up to which id it has been read.
        fileprivate var ends: [Int16: Int64] = [:]
        fileprivate(set) var entries: [OutboxStore.Entry] = []

        var isEmpty: Bool { ends.isEmpty }

        fileprivate mutating func leaveOut(_ shards: some Collection<Int16>) {
            guard !isEmpty, !shards.isEmpty else { return }
            for shard in shards { ends[shard] = nil }
            entries.removeAll { shards.contains($0.shard) }
        }
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
    /// Smaller while the broker does not confirm as many in time.
    private var roundLimit = roundLimits.upperBound
    private var lookedAt: ContinuousClock.Instant?
    /// Read while the round before it was sent.
    private var prepared = Round()
    /// What has been settled and is not noted yet.
    private var unsaved: [OutboxStore.Cursor] = []
    private var unsavedParkings: [(entry: OutboxStore.Entry, reason: String)] = []

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

    /// Whether nothing more is known that could be sent at once.
    var isDrained: Bool { prepared.isEmpty && !shards.values.contains { $0.isReady } }

    /// Takes or gives back shards, so that each relay that reaches the broker has its share.
    mutating func balance(reachesBroker: Bool, at now: Date, timeout: Duration) async throws {
        // Before anything is given back: whoever takes it would send once more what is not noted.
        try await save(at: now, timeout: timeout)
        withoutBrokerSince = reachesBroker ? nil : withoutBrokerSince ?? .now
        if let withoutBrokerSince, withoutBrokerSince.duration(to: .now) > RelaySession.brokerPatience {
            guard isRelay else { return }
            isRelay = false
            shards = [:]
            prepared = Round()
            openTransaction = OpenTransaction()
            return try await OutboxStore.resign(connection, deadline: .now + timeout)
        }
        if !isRelay {
            try await OutboxStore.enlist(connection, deadline: .now + timeout)
            isRelay = true
        }
        let relays = try await OutboxStore.relays(on: connection, deadline: .now + timeout)
        openTransaction.observe(relays.snapshot, at: .now)
        let share = (OutboxStore.shards.count + relays.count - 1) / max(1, relays.count)
        if shards.count > share {
            let surplus = Array(ownedShards.dropFirst(share))
            try await OutboxStore.release(surplus, on: connection, deadline: .now + timeout)
            for shard in surplus { shards[shard] = nil }
            prepared.leaveOut(surplus)
        } else if shards.count < share, !relays.freeShards.isEmpty {
            // Relays that begin at once do not all try the same ones.
            let wanted = Array(relays.freeShards.shuffled().prefix(share - shards.count))
            let cursors = try await OutboxStore.take(wanted, at: now, on: connection, deadline: .now + timeout)
            for cursor in cursors { shards[cursor.shard] = RelayShard(cursor) }
        }
    }

    /// The next events of all shards that may send.
    mutating func nextRound(timeout: Duration) async throws -> Round {
        if prepared.isEmpty {
            try await lookAhead()
            return try await readKnown(timeout: timeout)
        }
        defer { prepared = Round() }
        return prepared
    }

    /// Notes what the last round has settled, and reads what comes after the one that is being sent.
    mutating func prepare(at now: Date, timeout: Duration) async throws {
        try await save(at: now, timeout: timeout)
        guard shards.values.contains(where: { $0.isReady }) else { return }
        if let lookedAt, lookedAt.duration(to: .now) > RelaySession.lookInterval { try await lookAhead() }
        prepared = try await readKnown(timeout: timeout)
    }

    /// Reads the next of the events that are known.
    private mutating func readKnown(timeout: Duration) async throws -> Round {
        let ready = shards.filter { $0.value.isReady }.keys
        let share = max(1, roundLimit / max(1, ready.count))
        var round = Round()
        var places: [OutboxStore.Place] = []
        for shard in ready {
            guard let next = shards[shard]?.handOut(limit: share) else { continue }
            round.ends[shard] = next.last?.id
            places += next
        }
        guard !places.isEmpty else { return round }
        let entries = try await OutboxStore.events(at: places, on: connection, deadline: .now + timeout)
        round.entries = inTurn(entries)
        return round
    }

    /// The first of each shard, then the second of each, and so on: a slow broker keeps none waiting for the others.
    private func inTurn(_ entries: [OutboxStore.Entry]) -> [OutboxStore.Entry] {
        var counts: [Int16: Int] = [:]
        let turns = entries.map { entry in
            defer { counts[entry.shard, default: 0] += 1 }
            return (entry, turn: counts[entry.shard, default: 0])
        }
        return turns.sorted { ($0.turn, $0.0.shard) < ($1.turn, $1.0.shard) }.map(\.0)
    }

    /// Looks for events in the shards that have sent all that they knew of.
    private mutating func lookAhead() async throws {
        lookedAt = .now
        let cursors = shards.values.filter(\.mustLook).map(\.cursor)
        guard !cursors.isEmpty else { return }
        let views = try await OutboxStore.look(
            cursors,
            limit: RelaySession.lookahead,
            on: connection,
            deadline: .now + RelaySession.lookTimeout
        )
        for view in views {
            shards[view.shard]?.take(view, isCut: view.places.count == RelaySession.lookahead)
        }
    }

    /// Moves each shard up to its first event that the broker has not taken; what it never will is parked.
    ///
    /// Nothing of it is noted before ``save(at:timeout:)``.
    /// - Parameter outcomes: one for each entry of the round, in order.
    /// - Returns: where the broker has not taken an event: that shard pauses.
    mutating func settle(_ round: Round, _ outcomes: [PublishOutcome]) -> [Setback] {
        var setbacks: [Int16: Setback] = [:]
        var lastSettled: [Int16: Int64] = [:]
        for (entry, outcome) in zip(round.entries, outcomes) where setbacks[entry.shard] == nil {
            if let reason = outcome.refusal { unsavedParkings.append((entry, reason)) }
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
        for (shard, end) in round.ends {
            if let setback = setbacks[shard] { shards[shard]?.pause(because: setback.outcome) }
            guard let settled = setbacks[shard] == nil ? end : lastSettled[shard] else { continue }
            if setbacks[shard] == nil { shards[shard]?.resume() }
            if let cursor = shards[shard]?.settle(through: settled) { unsaved.append(cursor) }
        }
        prepared.leaveOut(setbacks.keys)
        let limit = outcomes.contains(.timedOut) ? roundLimit / 2 : roundLimit * 2
        roundLimit = min(max(limit, RelaySession.roundLimits.lowerBound), RelaySession.roundLimits.upperBound)
        return setbacks.values.sorted { $0.shard < $1.shard }
    }

    /// Notes what has been settled; does nothing when that is nothing.
    mutating func save(at now: Date, timeout: Duration) async throws {
        guard !unsaved.isEmpty else { return }
        try await OutboxStore.save(
            unsaved,
            parking: unsavedParkings,
            at: now,
            on: connection,
            deadline: .now + timeout
        )
        unsaved = []
        unsavedParkings = []
    }

    /// Notes where idle shards stand: nothing was confirmed, but the slots behind them can be emptied.
    mutating func checkpoint(at now: Date, timeout: Duration) async throws {
        unsaved += ownedShards.compactMap { shards[$0]?.checkpoint() }
        try await save(at: now, timeout: timeout)
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
