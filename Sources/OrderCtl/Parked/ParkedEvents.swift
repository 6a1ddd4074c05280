import Foundation
import Operations
import OrderDomain
import OrderMessages
import OrderStore
import ServiceRuntime

/// Parked events as they are shown.
struct ParkedEvents: Encodable {
    struct Event: Encodable {
        let eventId: String
        let orderId: String
        let sequence: Int
        let type: String
        let occurredAt: String
        let dataBytes: Int
        let parkedAt: String
        let reason: String

        init(_ event: OutboxStore.ParkedEvent) {
            eventId = event.eventID.text
            orderId = event.orderID.text
            sequence = event.sequence
            type = event.type
            occurredAt = event.occurredAt.rfc3339
            dataBytes = event.dataBytes
            parkedAt = event.parkedAt.rfc3339
            reason = event.reason
        }
    }

    private struct Whole: Encodable {
        let event: Event
        let traceparent: Nullable<String>

        enum CodingKeys: String, CodingKey {
            case traceparent
        }

        func encode(to encoder: any Encoder) throws {
            try event.encode(to: encoder)
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(traceparent, forKey: .traceparent)
        }
    }

    let total: Int
    let data: [Event]

    /// A line an event.
    static func text(_ events: [OutboxStore.ParkedEvent], of total: Int) -> String {
        guard !events.isEmpty else { return "no parked events" }
        var table = TextTable([
            ("EVENT", .left), ("ORDER", .left), ("TYPE", .left), ("BYTES", .right), ("PARKED AT", .left),
            ("REASON", .left),
        ])
        for event in events {
            table.add([
                event.eventID.text, event.orderID.text, event.type, grouped(event.dataBytes), event.parkedAt.rfc3339,
                shortened(event.reason, to: 60),
            ])
        }
        let all = "\(grouped(total)) parked event\(total == 1 ? "" : "s")"
        let shown = events.count < total ? "the first \(grouped(events.count)) of \(all)" : all
        return "\(table.text)\n\(shown)"
    }

    /// One event with its data.
    static func text(_ event: OutboxStore.ParkedEvent, traceparent: String?, data: String) -> String {
        var table = TextTable([("event", .left), (event.eventID.text, .left)])
        table.add(["order", event.orderID.text])
        table.add(["type", "\(event.type), #\(event.sequence) of the order"])
        table.add(["occurred at", event.occurredAt.rfc3339])
        table.add(["parked at", event.parkedAt.rfc3339])
        table.add(["reason", event.reason])
        table.add(["bytes", grouped(event.dataBytes)])
        table.add(["traceparent", traceparent ?? "none"])
        return "\(table.text)\n\ndata\n\(data)"
    }

    /// One event with its data, in one line: `data` goes in as it stands.
    static func json(_ event: OutboxStore.ParkedEvent, traceparent: String?, data: String) throws -> String {
        let head = try encoded(Whole(event: Event(event), traceparent: Nullable(traceparent)))
        // Line breaks between the tokens mean nothing, and within a string there are none.
        let line = String(data.map { $0.isNewline ? " " : $0 })
        return "\(head.dropLast()),\"data\":\(line)}"
    }
}
