package import OrderDomain

/// What became of one event of an order: an element of `GET /v1/orders/{id}/deliveries`.
package struct EventTrailAnswer: Encodable, Sendable {
    private let trail: EventTrail

    /// Writes a trail.
    package init(_ trail: EventTrail) {
        self.trail = trail
    }

    private enum CodingKeys: String, CodingKey {
        case eventId, type, sequence, occurredAt, status, confirmedAt, parked, attempts, deliveredAt, redrives, purged
    }

    /// With null for what is not known or has not happened.
    package func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(trail.eventID?.text, forKey: .eventId)
        try fields.encode(trail.type, forKey: .type)
        try fields.encode(trail.sequence, forKey: .sequence)
        try fields.encode(trail.occurredAt.rfc3339, forKey: .occurredAt)
        try fields.encode(trail.status.rawValue, forKey: .status)
        try fields.encode(trail.confirmedAt?.rfc3339, forKey: .confirmedAt)
        try fields.encode(trail.parking.map(Parking.init), forKey: .parked)
        try fields.encode(trail.attempts.map(Attempt.init), forKey: .attempts)
        try fields.encode(trail.deliveredAt?.rfc3339, forKey: .deliveredAt)
        try fields.encode(trail.redrives.map(Redrive.init), forKey: .redrives)
        try fields.encode(trail.purge.map(Purge.init), forKey: .purged)
    }

    private struct Attempt: Encodable {
        let attempt: DeliveryAttempt

        enum CodingKeys: String, CodingKey {
            case at, attempt, outcome, status, error, retryAfterMs
        }

        func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(attempt.at.rfc3339, forKey: .at)
            try fields.encode(attempt.number, forKey: .attempt)
            try fields.encode(attempt.outcome.rawValue, forKey: .outcome)
            try fields.encode(attempt.status, forKey: .status)
            try fields.encode(attempt.error, forKey: .error)
            try fields.encode(attempt.retryAfterMs, forKey: .retryAfterMs)
        }
    }

    private struct Parking: Encodable {
        let parking: EventParking

        enum CodingKeys: String, CodingKey {
            case at, reason, purgedBy, purgedAt
        }

        func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(parking.at.rfc3339, forKey: .at)
            try fields.encode(parking.reason, forKey: .reason)
            try fields.encode(parking.purgedBy, forKey: .purgedBy)
            try fields.encode(parking.purgedAt?.rfc3339, forKey: .purgedAt)
        }
    }

    private struct Redrive: Encodable {
        let redriveId: String
        let at: String

        init(_ redrive: EventRedrive) {
            redriveId = redrive.redriveID
            at = redrive.at.rfc3339
        }
    }

    private struct Purge: Encodable {
        let by: String
        let at: String

        init(_ purge: EventPurge) {
            by = purge.by
            at = purge.at.rfc3339
        }
    }
}
