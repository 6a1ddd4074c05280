package import FoundationEssentials
package import OrderDomain

/// What can happen to an order, as the type of its event.
package enum OrderEventType: String, CaseIterable, Sendable {
    case paid = "order.paid.v1"
    case cancelled = "order.cancelled.v1"
    case statusChanged = "order.status-changed.v1"
}

/// A change of an order as a CloudEvent 1.0 in structured JSON.
package struct OrderEvent: Sendable {
    /// How an event names its origin.
    package static let source = "/jumun/orders"
    /// The media type of one event.
    package static let contentType = "application/cloudevents+json"

    package let id: UUID
    package let orderID: OrderID
    /// The order's own count of its events, from 1.
    package let sequence: Int
    package let type: String
    package let occurredAt: Date
    package let traceparent: String?
    /// The order as the API gives it, in JSON.
    package let data: String

    /// Makes an event.
    package init(
        id: UUID,
        orderID: OrderID,
        sequence: Int,
        type: String,
        occurredAt: Date,
        traceparent: String?,
        data: String
    ) {
        self.id = id
        self.orderID = orderID
        self.sequence = sequence
        self.type = type
        self.occurredAt = occurredAt
        self.traceparent = traceparent
        self.data = data
    }

    private struct Envelope: Encodable {
        let specversion = "1.0"
        let id: String
        let source: String
        let type: String
        let subject: String
        let time: String
        let datacontenttype = "application/json"
        let partitionkey: String
        let sequence: Int
        let traceparent: String?
    }

    /// The whole event in JSON; `data` goes in as it stands, byte for byte.
    package func encodedEnvelope() throws -> String {
        let envelope = try encoded(
            Envelope(
                id: id.uuidString.lowercased(),
                source: OrderEvent.source,
                type: type,
                subject: orderID.text,
                time: occurredAt.rfc3339,
                partitionkey: orderID.text,
                sequence: sequence,
                traceparent: traceparent
            )
        )
        return "\(envelope.dropLast()),\"data\":\(data)}"
    }
}
