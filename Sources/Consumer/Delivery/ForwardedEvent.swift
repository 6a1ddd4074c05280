import AMQP
import EventTopology
import FoundationEssentials
import OrderStore

/// A delivery with what the consumer has to know of the event in it.
struct ForwardedEvent: Sendable {
    /// Why a message isn't an event; no attempt could ever deliver it.
    struct Unreadable: Error, Equatable {
        let reason: String
    }

    let delivery: AMQPDelivery
    /// The CloudEvents id, which makes repeated deliveries of it harmless.
    let id: UUID
    /// The CloudEvents subject.
    let orderID: UUID
    /// The order's own count of its events; nil when the event doesn't say.
    let sequence: Int32?
    /// The trace context, if it came with one that fits a header.
    let traceparent: String?
    /// When the order changed.
    let occurredAt: Date
    /// How many attempts to deliver it have failed.
    var attempts: Int

    /// The event as it came.
    var body: [UInt8] { delivery.body }
    var key: DeliveryStore.EventKey { .init(orderID: orderID, eventID: id) }
    /// Whether an operator has sent it again.
    var isRedriven: Bool { delivery.headers[DeadLetterHeaders.redriveID] != nil }

    /// Reads a delivery; throws when there is no CloudEvent of an order in it.
    init(_ delivery: AMQPDelivery, now: Date) throws(Unreadable) {
        let envelope = try Envelope(delivery.body)
        self.delivery = delivery
        (id, orderID) = (envelope.id, envelope.subject)
        sequence = envelope.sequence
        traceparent = delivery.headers[EventHeaders.traceparent]?.string.flatMap { Self.fitsHeader($0) ? $0 : nil }
        occurredAt = Self.occurredAt(delivery.headers) ?? now
        attempts = Self.attempts(delivery.headers)
    }

    /// How many attempts the headers tell of, at most a million; 0 when they say nothing sensible.
    static func attempts(_ headers: [String: AMQPField]) -> Int {
        Int(min(1_000_000, max(0, headers[EventHeaders.attempt]?.integer ?? 0)))
    }

    /// The headers' time of the change; nil when they have none between 1970 and the year 10000.
    static func occurredAt(_ headers: [String: AMQPField]) -> Date? {
        guard let milliseconds = headers[EventHeaders.occurredAtMs]?.integer,
            (0..<253_402_300_800_000).contains(milliseconds)
        else { return nil }
        return Date(timeIntervalSince1970: Double(milliseconds) / 1_000)
    }

    private static func fitsHeader(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }
}

/// The attributes of a CloudEvent that tell what it is about.
struct Envelope: Equatable {
    let id: UUID
    let subject: UUID
    let sequence: Int32?

    /// Reads a CloudEvent in structured JSON; throws when it is none, or none of an order.
    init(_ body: [UInt8]) throws(ForwardedEvent.Unreadable) {
        guard !body.isEmpty else { throw .init(reason: "the message is empty") }
        // The decoder would also take UTF-16, which can't stand in a batch beside others.
        guard let attributes = Self.attributes(body), !body.contains(0) else {
            throw .init(reason: "the message is not a CloudEvent in JSON")
        }
        guard attributes.specversion == "1.0", attributes.source?.isEmpty == false, attributes.type?.isEmpty == false
        else { throw .init(reason: "the message lacks specversion 1.0, source or type of a CloudEvent") }
        guard let id = attributes.id.flatMap(UUID.init(uuidString:)) else {
            throw .init(reason: "the event's id is not a UUID")
        }
        guard let subject = attributes.subject.flatMap(UUID.init(uuidString:)) else {
            throw .init(reason: "the event's subject is not a UUID")
        }
        (self.id, self.subject, sequence) = (id, subject, attributes.sequence)
    }

    private static func attributes(_ body: [UInt8]) -> Attributes? {
        try? JSONDecoder().decode(Attributes.self, from: Data(body))
    }

    private struct Attributes: Decodable {
        let specversion: String?
        let id: String?
        let source: String?
        let type: String?
        let subject: String?
        let sequence: Int32?

        private enum Key: String, CodingKey {
            case specversion, id, source, type, subject, sequence
        }

        init(from decoder: any Decoder) throws {
            let attributes = try decoder.container(keyedBy: Key.self)
            specversion = try attributes.decodeIfPresent(String.self, forKey: .specversion)
            id = try attributes.decodeIfPresent(String.self, forKey: .id)
            source = try attributes.decodeIfPresent(String.self, forKey: .source)
            type = try attributes.decodeIfPresent(String.self, forKey: .type)
            subject = try attributes.decodeIfPresent(String.self, forKey: .subject)
            // Of another publisher it may be anything.
            sequence = (try? attributes.decodeIfPresent(Int32.self, forKey: .sequence)) ?? nil
        }
    }
}
