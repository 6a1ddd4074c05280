import AMQP
import EventTopology
import Foundation

/// What the consumer has to know of an event in order to forward it.
struct ForwardedEvent: Sendable {
    /// Why a message isn't an event; no attempt could ever deliver it.
    struct Unreadable: Error, Equatable {
        let reason: String
    }

    private struct Envelope: Decodable {
        let id: String
    }

    /// The message's id, which makes repeated deliveries of it harmless.
    let id: String
    /// The body as it came.
    let body: [UInt8]
    /// The trace context, if it came with one that fits a header.
    let traceparent: String?
    /// When the order changed, in milliseconds since 1970.
    let occurredAtMs: Int64?
    /// How many attempts to deliver it have failed.
    let attempts: Int

    /// Reads a message; throws when there is no CloudEvent in it, or no id that fits a header.
    init(body: [UInt8], messageID: String?, headers: [String: AMQPField]) throws(Unreadable) {
        guard !body.isEmpty else { throw Unreadable(reason: "the message is empty") }
        guard let envelope = try? JSONDecoder().decode(Envelope.self, from: Data(body)) else {
            throw Unreadable(reason: "the message is not a CloudEvent in JSON")
        }
        let id = messageID ?? envelope.id
        guard Self.fitsHeader(id) else {
            throw Unreadable(reason: "the message's id is not 1 to 255 visible characters")
        }
        self.id = id
        self.body = body
        traceparent = headers[EventHeaders.traceparent]?.string.flatMap { Self.fitsHeader($0) ? $0 : nil }
        occurredAtMs = headers[EventHeaders.occurredAtMs]?.integer
        attempts = Self.attempts(headers)
    }

    /// How many attempts the headers tell of, at most a million; 0 when they say nothing sensible.
    static func attempts(_ headers: [String: AMQPField]) -> Int {
        Int(min(1_000_000, max(0, headers[EventHeaders.attempt]?.integer ?? 0)))
    }

    private static func fitsHeader(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }
}
