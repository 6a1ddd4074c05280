import AMQP
import Backoff
import FoundationEssentials
import OrderStore

/// A shard in the hands of this relay: how far it is confirmed, what comes next, and whether it waits.
struct RelayShard {
    private(set) var cursor: OutboxStore.Cursor
    /// What is known to come next, by id.
    private var places: ArraySlice<OutboxStore.Place> = []
    /// How many of these have been handed out to be sent.
    private var handedOut = 0
    /// Whether the target has more than that.
    private var isCut = false
    /// The base of the last confirmation that was noted.
    private var savedBase: String
    private var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
    private var pausedUntil: ContinuousClock.Instant?
    /// Whether the next event came back because no queue is bound for it.
    private(set) var isHeld = false

    init(_ cursor: OutboxStore.Cursor) {
        self.cursor = cursor
        savedBase = cursor.base
    }

    /// Whether the last round did not send everything.
    var isTroubled: Bool { pausedUntil != nil }

    /// Whether it is time to look what there is to send.
    var mustLook: Bool { places.isEmpty && mayPublish }

    /// Whether something is known that can be sent now.
    var isReady: Bool { handedOut < places.count && mayPublish }

    private var mayPublish: Bool {
        pausedUntil.map { $0 <= .now } ?? true
    }

    /// Takes in what was looked at.
    mutating func take(_ view: OutboxStore.View, isCut: Bool) {
        cursor.target = view.target
        places = view.places[...]
        handedOut = 0
        self.isCut = isCut
        // Not noted: an older base finds nothing more than this one, and an idle relay writes nothing.
        if places.isEmpty { cursor.finish() }
    }

    /// Hands out what is to be sent next, of each order one event at most: a second one of which the broker takes the
    /// later and not the earlier would be in the queue before it.
    mutating func handOut(limit: Int) -> ArraySlice<OutboxStore.Place> {
        var orders: Set<UUID> = []
        let next = places.dropFirst(handedOut).prefix(limit).prefix { orders.insert($0.order).inserted }
        handedOut += next.count
        return next
    }

    /// Everything up to this id is confirmed or parked; returns the cursor to be noted.
    mutating func settle(through id: Int64) -> OutboxStore.Cursor {
        let before = places.count
        places = places.drop { $0.id <= id }
        handedOut = max(0, handedOut - (before - places.count))
        cursor.afterID = id
        cursor.lastID = max(cursor.lastID, id)
        if places.isEmpty, !isCut { cursor.finish() }
        return number()
    }

    /// The cursor, when it has moved since it was last noted.
    mutating func checkpoint() -> OutboxStore.Cursor? {
        cursor.isAtRest && cursor.base != savedBase ? number() : nil
    }

    /// Gives the cursor its number as the shard's next confirmation.
    private mutating func number() -> OutboxStore.Cursor {
        cursor.number += 1
        savedBase = cursor.base
        return cursor
    }

    /// What is not settled is sent again, later. The broker's trouble costs an event nothing but time: there is no
    /// limit to the attempts.
    mutating func pause(because outcome: PublishOutcome) {
        handedOut = 0
        pausedUntil = .now + backoff.next()
        isHeld = if case .returned = outcome { true } else { false }
    }

    mutating func resume() {
        backoff.reset()
        pausedUntil = nil
        isHeld = false
    }
}
