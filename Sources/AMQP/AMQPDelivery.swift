/// A message that the broker has handed to a consumer, and wants acknowledged.
package struct AMQPDelivery: Sendable {
    /// Which connection of the consumer it came over; tags start again with each.
    let generation: UInt64
    /// The broker's number for it, unique on its connection.
    package let tag: UInt64
    /// The payload.
    package let body: [UInt8]
    /// The publisher's id for the message.
    package let messageID: String?
    /// What kind of message it is.
    package let type: String?
    /// The media type of the body.
    package let contentType: String?
    /// Which program has made it.
    package let appID: String?
    /// Seconds since 1970, as the publisher said.
    package let timestamp: Int64?
    /// The publisher's headers and the broker's own (`x-death`, `x-delivery-count`).
    package let headers: [String: AMQPField]
    /// Whether a durable queue keeps it over a restart of the broker.
    package let isPersistent: Bool
    /// Whether somebody was given it before.
    package let redelivered: Bool
    /// The exchange it was last published to; empty for the default one.
    package let exchange: String
    /// The routing key it was last published with.
    package let routingKey: String

    /// How often a quorum queue has tried to deliver it before (`x-delivery-count`); 0 when it doesn't say.
    package var deliveryCount: Int {
        Int(clamping: headers["x-delivery-count"]?.integer ?? 0)
    }
}

extension AMQPDelivery {
    /// What has come in, as a delivery.
    init(_ content: IncomingContent, generation: UInt64, tag: UInt64, redelivered: Bool) {
        self.init(
            generation: generation,
            tag: tag,
            body: content.body,
            messageID: content.properties.messageID,
            type: content.properties.type,
            contentType: content.properties.contentType,
            appID: content.properties.appID,
            timestamp: content.properties.timestamp,
            headers: content.properties.headers,
            isPersistent: content.properties.isPersistent,
            redelivered: redelivered,
            exchange: content.exchange,
            routingKey: content.routingKey
        )
    }
}
