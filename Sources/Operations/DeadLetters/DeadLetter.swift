package import AMQP
import EventTopology
package import Foundation
import OrderMessages

/// A message of the dead-letter queue, and why it is there.
package struct DeadLetter {
    /// The group of what the broker itself gave up: it writes no fingerprint.
    package static let poisonGroup = "poison"

    private struct Envelope: Decodable {
        let id: String?
        let subject: String?
        let type: String?
    }

    package let delivery: AMQPDelivery
    /// The event's id; what the publisher said when it is no UUID, empty when it said nothing.
    package let eventID: String
    /// The order that the event is about; nil when the body is no event of ours.
    package let orderID: UUID?
    /// What kind of event it is; empty when nobody says.
    package let type: String

    /// Reads what the message says of itself.
    package init(_ delivery: AMQPDelivery) {
        self.delivery = delivery
        let envelope = try? JSONDecoder().decode(Envelope.self, from: Data(delivery.body))
        eventID = delivery.messageID ?? envelope?.id ?? ""
        orderID = envelope?.subject.flatMap { UUID(uuidString: $0) }
        type = delivery.type ?? envelope?.type ?? ""
    }

    /// Failures of one cause have the same.
    package var group: String {
        delivery.headers[DeadLetterHeaders.fingerprint]?.string ?? Self.poisonGroup
    }

    /// Whether the consumer has noted it: what the broker itself gave up nobody has, nor what names no event or order.
    package var isTraced: Bool {
        delivery.headers[DeadLetterHeaders.fingerprint] != nil && orderID != nil && UUID(uuidString: eventID) != nil
    }

    /// What was wrong.
    package var error: String {
        delivery.headers[DeadLetterHeaders.errorMessage]?.string
            ?? (death == nil ? "" : "given up by the broker: delivered too often without an answer")
    }

    /// The platform's answer, if there was one.
    package var status: Int? { delivery.headers[DeadLetterHeaders.errorStatus]?.integer.map { Int(clamping: $0) } }

    /// When it was given up; nil when nobody says.
    package var failedAt: Date? {
        if let text = delivery.headers[DeadLetterHeaders.failedAt]?.string { return Date(rfc3339: text) }
        return death?["time"]?.integer.map { Date(timeIntervalSince1970: Double($0)) }
    }

    /// Requests that carried it and failed, so far as the headers tell.
    package var attempts: Int { Int(clamping: delivery.headers[EventHeaders.attempt]?.integer ?? 0) }

    /// How often it was redriven before.
    package var redriveCount: Int { Int(clamping: delivery.headers[DeadLetterHeaders.redriveCount]?.integer ?? 0) }

    /// The redrive after which it came back here, if there was one.
    package var redriveID: String? { delivery.headers[DeadLetterHeaders.redriveID]?.string }

    /// The broker's own note of the last time that it moved the message.
    private var death: [String: AMQPField]? { delivery.headers["x-death"]?.array?.first?.table }
}

extension DeadLetter {
    /// The message as it goes to the forward queue once more: as new, but for who sent it and how often.
    ///
    /// Through the default exchange, so that nobody else gets it a second time.
    func redriven(by id: String) -> AMQPMessage {
        var headers = delivery.headers.filter { name, _ in Self.isOfNewEvent(name) }
        headers[DeadLetterHeaders.redriveCount] = .int64(Int64(redriveCount + 1))
        headers[DeadLetterHeaders.redriveID] = .string(id)
        return AMQPMessage(
            exchange: "",
            routingKey: BrokerNames.forwardQueue,
            body: delivery.body,
            contentType: delivery.contentType,
            messageID: delivery.messageID,
            type: delivery.type,
            appID: delivery.appID,
            timestamp: delivery.timestamp,
            headers: headers
        )
    }

    /// Whether a header belongs to an event that was never tried. The others count its failures, or are those of the
    /// broker, which drops what it thinks goes in circles.
    private static func isOfNewEvent(_ name: String) -> Bool {
        !name.hasPrefix("x-") || name == EventHeaders.occurredAtMs
    }
}
