import Crypto
import FoundationEssentials
import NIOCore
import NIOHTTP1
import WebhookSignature

/// A POST of events to the platform: body, media type, and what the Standard Webhooks specification asks for.
struct PlatformRequest: Sendable {
    /// The bytes that a batch may have; an event that is larger goes alone.
    static let maximumBatchBytes = 1_048_576

    /// How events are put into a request.
    enum Form: Sendable, Equatable {
        /// One event a request.
        case single
        /// A JSON array of events, also when it is one.
        case batch
    }

    let body: ByteBuffer
    let headers: HTTPHeaders

    /// Makes a request of events that must not be empty, and must be one where the form is `single`.
    ///
    /// The id is the event's or, for several, one that the same events have again when they are sent again.
    init(_ events: ArraySlice<ForwardedEvent>, form: Form, keys: SigningKeys?, now: Date) {
        body = Self.body(events, form)
        let id = Self.id(events)
        var headers: HTTPHeaders = ["Idempotency-Key": id, "webhook-id": id]
        switch form {
        case .single:
            headers.add(name: "Content-Type", value: "application/cloudevents+json")
            if let traceparent = events.first?.traceparent { headers.add(name: "traceparent", value: traceparent) }
        case .batch:
            headers.add(name: "Content-Type", value: "application/cloudevents-batch+json")
        }
        let timestamp = Int64(now.timeIntervalSince1970)
        headers.add(name: "webhook-timestamp", value: "\(timestamp)")
        if let keys {
            let signatures = keys.signatures(id: id, timestamp: timestamp, body: body.readableBytesView)
            headers.add(name: "webhook-signature", value: signatures)
        }
        self.headers = headers
    }

    private static func body(_ events: ArraySlice<ForwardedEvent>, _ form: Form) -> ByteBuffer {
        var body = ByteBuffer()
        body.reserveCapacity(events.reduce(2) { $0 + $1.body.count + 1 })
        if form == .batch { body.writeStaticString("[") }
        for (index, event) in events.enumerated() {
            if index > 0 { body.writeStaticString(",") }
            body.writeBytes(event.body)
        }
        if form == .batch { body.writeStaticString("]") }
        return body
    }

    private static func id(_ events: ArraySlice<ForwardedEvent>) -> String {
        guard events.count > 1 else { return events.first?.id.uuidString.lowercased() ?? "" }
        var hash = SHA256()
        for event in events { hash.update(data: Data(event.id.uuidString.utf8)) }
        return "batch_"
            + hash.finalize().prefix(16).map { byte in
                let digits = String(byte, radix: 16)
                return digits.count == 1 ? "0" + digits : digits
            }
            .joined()
    }
}
