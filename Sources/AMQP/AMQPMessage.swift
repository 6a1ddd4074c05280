/// A message to publish.
package struct AMQPMessage: Sendable, Equatable {
    /// The exchange; empty for the default one, whose routing key is the name of a queue.
    package var exchange: String
    /// What the exchange picks queues by; at most 255 bytes of UTF-8, as all texts here.
    package var routingKey: String
    /// The payload.
    package var body: [UInt8]
    /// The media type of the body.
    package var contentType: String?
    /// Also what tells which message a `basic.return` is about, so give each message its own.
    package var messageID: String?
    /// What kind of message it is.
    package var type: String?
    /// Which program has made it.
    package var appID: String?
    /// Seconds since 1970.
    package var timestamp: Int64?
    /// Everything else that goes with it; see ``maximumHeaderBytes``.
    package var headers: [String: AMQPField]
    /// Whether a durable queue keeps it over a restart of the broker.
    package var isPersistent: Bool

    /// Creates a message.
    package init(
        exchange: String,
        routingKey: String,
        body: [UInt8],
        contentType: String? = nil,
        messageID: String? = nil,
        type: String? = nil,
        appID: String? = nil,
        timestamp: Int64? = nil,
        headers: [String: AMQPField] = [:],
        isPersistent: Bool = true
    ) {
        self.exchange = exchange
        self.routingKey = routingKey
        self.body = body
        self.contentType = contentType
        self.messageID = messageID
        self.type = type
        self.appID = appID
        self.timestamp = timestamp
        self.headers = headers
        self.isPersistent = isPersistent
    }

    /// The most bytes of headers: with the other properties they must fit the one frame that carries them.
    package static let maximumHeaderBytes = 120 * 1_024

    /// Why it can't be sent; `nil` when it can.
    ///
    /// The library would notice only when half of the message is on the wire, which ruins the connection.
    func refusal(maximumBodyBytes: Int) -> PublishOutcome? {
        guard body.count <= maximumBodyBytes else { return .tooLarge }
        let shortStrings = [exchange, routingKey, contentType, messageID, type, appID]
        guard shortStrings.allSatisfy({ ($0?.utf8.count ?? 0) <= 255 }) else {
            return .invalid("a name or property is longer than 255 bytes")
        }
        guard let size = AMQPField.encodedSize(of: headers) else {
            return .invalid("a header can't be sent: unsupported, nested too deeply, or its name is over 128 bytes")
        }
        return size <= Self.maximumHeaderBytes ? nil : .invalid("the headers take \(size) bytes")
    }
}
