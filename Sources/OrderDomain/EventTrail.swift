package import FoundationEssentials

/// A request that carried an event to the data platform, and what came of it.
package struct DeliveryAttempt: Hashable, Sendable {
    /// What came of it.
    package enum Outcome: String, CaseIterable, Sendable {
        case delivered = "DELIVERED"
        /// It is tried again after a while.
        case retried = "RETRIED"
        /// It is tried again after a while, and the attempt did not count: the platform said when to come back.
        case postponed = "POSTPONED"
        /// It waits for a person.
        case deadLettered = "DEAD_LETTERED"
    }

    package let at: Date
    /// Requests that carried the event and count, this one included.
    package let number: Int
    package let outcome: Outcome
    /// The platform's answer; nil when there was none.
    package let status: Int?
    /// What was wrong; nil when nothing was.
    package let error: String?
    /// How long it was to wait, in milliseconds; nil when it did not.
    package let retryAfterMs: Int?

    /// Makes an attempt.
    package init(at: Date, number: Int, outcome: Outcome, status: Int?, error: String?, retryAfterMs: Int?) {
        self.at = at
        self.number = number
        self.outcome = outcome
        self.status = status
        self.error = error
        self.retryAfterMs = retryAfterMs
    }
}

/// An operator's sending a dead letter once more.
package struct EventRedrive: Hashable, Sendable {
    package let redriveID: String
    package let at: Date

    /// Makes a redrive.
    package init(redriveID: String, at: Date) {
        self.redriveID = redriveID
        self.at = at
    }
}

/// An operator's removing a dead letter for good.
package struct EventPurge: Hashable, Sendable {
    package let by: String
    package let at: Date

    /// Makes a purge.
    package init(by: String, at: Date) {
        self.by = by
        self.at = at
    }
}

/// That the broker could never take an event, so that it waits outside of the outbox.
package struct EventParking: Hashable, Sendable {
    package let at: Date
    /// Why the broker could not take it.
    package let reason: String
    /// Who has decided that it will never be sent; nil while it waits for a person.
    package let purgedBy: String?
    /// When that was; nil while it waits.
    package let purgedAt: Date?

    /// Makes a parking.
    package init(at: Date, reason: String, purgedBy: String?, purgedAt: Date?) {
        self.at = at
        self.reason = reason
        self.purgedBy = purgedBy
        self.purgedAt = purgedAt
    }
}

/// What became of an event of an order, from its commit on.
package struct EventTrail: Hashable, Sendable {
    /// How far an event has come.
    package enum Status: String, CaseIterable, Sendable {
        /// In the outbox.
        case pending = "PENDING"
        /// The broker can never take it.
        case parked = "PARKED"
        /// The broker has it; no attempt is known.
        case confirmed = "CONFIRMED"
        /// An attempt failed, and there will be another.
        case retrying = "RETRYING"
        case delivered = "DELIVERED"
        case deadLettered = "DEAD_LETTERED"
        /// A person has decided that it will never be sent.
        case purged = "PURGED"
    }

    /// Nil when the outbox has let the event go, and nobody has noted a delivery.
    package let eventID: UUID?
    package let type: String
    /// The order's version after the change, from 1.
    package let sequence: Int
    package let occurredAt: Date
    /// Whether the broker has confirmed it.
    package let isConfirmed: Bool
    /// When it was confirmed; nil when that is not known.
    package let confirmedAt: Date?
    /// Nil when the broker could take it, and when it was given back to the relay.
    package let parking: EventParking?
    /// In the order of their time.
    package let attempts: [DeliveryAttempt]
    /// In the order of their time.
    package let redrives: [EventRedrive]
    /// The last time that it was removed from the dead letters; nil when it never was.
    package let purge: EventPurge?

    /// Makes a trail.
    package init(
        eventID: UUID?,
        type: String,
        sequence: Int,
        occurredAt: Date,
        isConfirmed: Bool,
        confirmedAt: Date?,
        parking: EventParking? = nil,
        attempts: [DeliveryAttempt],
        redrives: [EventRedrive],
        purge: EventPurge? = nil
    ) {
        self.eventID = eventID
        self.type = type
        self.sequence = sequence
        self.occurredAt = occurredAt
        self.isConfirmed = isConfirmed
        self.confirmedAt = confirmedAt
        self.parking = parking
        self.attempts = attempts
        self.redrives = redrives
        self.purge = purge
    }

    /// When the platform accepted it; nil until then.
    package var deliveredAt: Date? {
        attempts.last { $0.outcome == .delivered }?.at
    }

    /// How far it has come.
    package var status: Status {
        if deliveredAt != nil { return .delivered }
        if let parking { return parking.purgedBy == nil ? .parked : .purged }
        // A copy that was left may have been sent again since.
        let last = [attempts.last?.at, redrives.last?.at].compactMap(\.self).max()
        if let purge, last.map({ $0 <= purge.at }) ?? true { return .purged }
        guard let last = attempts.last else { return isConfirmed ? .confirmed : .pending }
        if last.outcome != .deadLettered { return .retrying }
        let isRedriven = redrives.last.map { $0.at >= last.at } ?? false
        return isRedriven ? .retrying : .deadLettered
    }
}
