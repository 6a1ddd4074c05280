import Foundation
import Operations
import OrderDomain
import OrderMessages
import ServiceRuntime

/// The way of one event, a line a step, in milliseconds since its commit.
struct Timeline {
    /// Longer errors are cut.
    private static let errorLength = 90

    private let trail: EventTrail

    init(_ trail: EventTrail) {
        self.trail = trail
    }

    var text: String {
        var table = TextTable([("ms", .right), ("step", .left), ("", .left)])
        for step in steps { table.add([step.milliseconds.map(grouped) ?? "?", step.name, step.detail]) }
        if let waiting { table.add(["", "now", waiting]) }
        let id = trail.eventID?.text ?? "id not known any more"
        let status = Console.styled(trail.status.rawValue, Self.style(of: trail.status))
        return "\(trail.type)  #\(trail.sequence)  \(id)  \(status)\n\(table.text)"
    }

    private struct Step {
        let at: Date?
        let milliseconds: Int?
        let name: String
        let detail: String
    }

    private var steps: [Step] {
        // Steps whose time is not known stand where they must have happened.
        var steps = [step(trail.occurredAt, "committed", trail.occurredAt.rfc3339)]
        if let parking = trail.parking {
            steps.append(step(parking.at, "parked", shortened(parking.reason, to: Self.errorLength)))
            if let by = parking.purgedBy {
                steps.append(step(parking.purgedAt, "purged", "by \(by): never to be sent"))
            }
        }
        if trail.isConfirmed { steps.append(step(trail.confirmedAt, "confirmed", "by RabbitMQ")) }
        let later =
            trail.attempts.map(step(of:))
            + trail.redrives.map { step($0.at, "redriven", "by \($0.redriveID)") }
            + [trail.purge].compactMap(\.self).map { step($0.at, "purged", "by \($0.by): never to be sent") }
        steps += later.sorted { ($0.at ?? .distantPast) < ($1.at ?? .distantPast) }
        return steps
    }

    private func step(_ at: Date?, _ name: String, _ detail: String) -> Step {
        let milliseconds = at.map { Int(($0.timeIntervalSince(trail.occurredAt) * 1_000).rounded()) }
        return Step(at: at, milliseconds: milliseconds, name: name, detail: detail)
    }

    private func step(of attempt: DeliveryAttempt) -> Step {
        let answer = attempt.status.map { "status \($0)" } ?? "no answer"
        let error = attempt.error.map { ": " + shortened($0, to: Self.errorLength) } ?? ""
        let next = attempt.retryAfterMs.map { "; again in \(spoken(seconds: Double($0) / 1_000))" } ?? ""
        switch attempt.outcome {
        case .delivered: return step(attempt.at, "delivered", "attempt \(attempt.number), \(answer)")
        case .retried: return step(attempt.at, "attempt \(attempt.number)", answer + error + next)
        case .postponed: return step(attempt.at, "postponed", answer + error + next)
        case .deadLettered where attempt.status == nil && attempt.number == 0:
            return step(attempt.at, "dead letter", "without a request" + error)
        case .deadLettered: return step(attempt.at, "dead letter", "attempt \(attempt.number), \(answer)\(error)")
        }
    }

    /// What it waits for.
    private var waiting: String? {
        switch trail.status {
        case .pending: "in the outbox: not confirmed by RabbitMQ yet"
        case .parked: "waits for a person: orderctl parked show \(trail.eventID?.text ?? "")"
        case .confirmed: "in RabbitMQ: no attempt is known yet; if it stays so, see orderctl dlq list"
        case .retrying: "waits for the next attempt"
        case .deadLettered: "waits for a person: orderctl dlq show \(trail.eventID?.text ?? "")"
        case .delivered, .purged: nil
        }
    }

    private static func style(of status: EventTrail.Status) -> Console.Style {
        switch status {
        case .delivered: .good
        case .deadLettered, .parked, .purged: .bad
        case .pending, .confirmed, .retrying: .warning
        }
    }
}
