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

    /// The whole event in JSON; `data` goes in as it stands, byte for byte.
    package func encodedEnvelope() -> String {
        var json = JSONText()
        json.open()
        json.text("datacontenttype", "application/json")
        json.uuid("id", id)
        json.uuid("partitionkey", orderID.uuid)
        json.integer("sequence", Int64(sequence))
        json.text("source", OrderEvent.source)
        json.text("specversion", "1.0")
        json.uuid("subject", orderID.uuid)
        json.time("time", occurredAt)
        if let traceparent { json.text("traceparent", traceparent) }
        json.text("type", type)
        json.json("data", data)
        json.close()
        return json.string
    }
}
