import AMQP
import Foundation
import NIOCore
import NIOHTTP1
import Testing

@testable import Consumer

@Suite("Reading an event from a message")
struct ForwardedEventTests {
    private let id = UUID()
    private let order = UUID()
    private let now = Date(timeIntervalSince1970: 1_000)

    private func read(_ body: [UInt8], _ headers: [String: AMQPField] = [:]) throws -> ForwardedEvent {
        try ForwardedEvent(Events.delivery(body, messageID: "another", headers: headers), now: now)
    }

    @Test("the event's id, order and sequence, the headers and the body as it came")
    func everything() throws {
        let body = Events.body(id: id, order: order, sequence: 7)
        let event = try read(
            body,
            [
                "traceparent": .string("00-ab-cd-01"), "x-occurred-at-ms": .int64(1_234), "x-attempt": .int64(3),
                "x-redrive-id": .string("r"),
            ]
        )
        #expect((event.id, event.orderID, event.sequence) == (id, order, 7))
        #expect(event.body == body)
        #expect(event.traceparent == "00-ab-cd-01")
        #expect(event.occurredAt == Date(timeIntervalSince1970: 1.234))
        #expect(event.attempts == 3)
        #expect(event.isRedriven)
    }

    @Test("headers that make no sense are left out")
    func senseless() throws {
        let headers: [String: AMQPField] = [
            "traceparent": .string("00\r\nX-Evil: 1"), "x-attempt": .int64(-7), "x-occurred-at-ms": .string("noon"),
        ]
        let event = try read(Events.body(), headers)
        #expect(event.traceparent == nil)
        #expect(event.occurredAt == now)
        #expect(event.attempts == 0)
        #expect(!event.isRedriven)
        #expect(try read(Events.body(), ["x-occurred-at-ms": .int64(.max)]).occurredAt == now)
        #expect(try read(Events.body(), ["x-attempt": .int64(.max)]).attempts == 1_000_000)
    }

    @Test("a sequence that is no number is none")
    func sequence() throws {
        let text = String(decoding: Events.body(sequence: 5), as: UTF8.self)
        let event = try read(Array(text.replacing(#""sequence":5"#, with: #""sequence":"five""#).utf8))
        #expect(event.sequence == nil)
    }

    @Test("what is no event of an order is refused, with the reason")
    func unreadable() {
        let good = String(decoding: Events.body(id: id, order: order), as: UTF8.self)
        let wrong = [
            ("", "the message is empty"),
            ("no JSON", "the message is not a CloudEvent in JSON"),
            ("[]", "the message is not a CloudEvent in JSON"),
            (#"{"id":7}"#, "the message is not a CloudEvent in JSON"),
            ("{}", "the message lacks specversion 1.0, source or type of a CloudEvent"),
            (good.replacing("1.0", with: "0.3"), "the message lacks specversion 1.0, source or type of a CloudEvent"),
            (good.replacing(id.uuidString.lowercased(), with: "e-1"), "the event's id is not a UUID"),
            (good.replacing(order.uuidString.lowercased(), with: "17"), "the event's subject is not a UUID"),
        ]
        for (text, reason) in wrong {
            #expect(throws: ForwardedEvent.Unreadable(reason: reason)) { try read(Array(text.utf8)) }
        }
        let utf16 = Array(good.data(using: .utf16LittleEndian) ?? Data())
        #expect(throws: ForwardedEvent.Unreadable.self) { try read(utf16) }
    }
}

@Suite("The request to the platform")
struct PlatformRequestTests {
    private let now = Date(timeIntervalSince1970: 1_700_000_000.9)

    @Test("one event goes as it came, with its id and its trace context")
    func single() throws {
        let event = try Events.event(headers: ["traceparent": .string("00-ab-cd-01")])
        let request = PlatformRequest([event][...], form: .single, keys: nil, now: now)
        #expect(Array(request.body.readableBytesView) == event.body)
        let id = event.id.uuidString.lowercased()
        #expect(request.headers["content-type"] == ["application/cloudevents+json"])
        #expect(request.headers["webhook-id"] == [id])
        #expect(request.headers["idempotency-key"] == [id])
        #expect(request.headers["webhook-timestamp"] == ["1700000000"])
        #expect(request.headers["traceparent"] == ["00-ab-cd-01"])
        #expect(request.headers["webhook-signature"].isEmpty)
    }

    @Test("a batch is an array of them, with an id that the same events have again")
    func batch() throws {
        let events = try (0..<3).map { _ in try Events.event() }
        let request = PlatformRequest(events[...], form: .batch, keys: nil, now: now)
        let json = try JSONSerialization.jsonObject(with: Data(request.body.readableBytesView)) as? [[String: Any]]
        #expect(json?.compactMap { $0["id"] as? String } == events.map { $0.id.uuidString.lowercased() })
        #expect(request.headers["content-type"] == ["application/cloudevents-batch+json"])
        let again = PlatformRequest(events[...], form: .batch, keys: nil, now: now)
        let other = PlatformRequest(events[1...], form: .batch, keys: nil, now: now)
        #expect(request.headers["webhook-id"] == again.headers["webhook-id"])
        #expect(request.headers["webhook-id"] != other.headers["webhook-id"])
        let alone = PlatformRequest(events[..<1], form: .batch, keys: nil, now: now)
        #expect(alone.headers["webhook-id"] == [events[0].id.uuidString.lowercased()])
        #expect(alone.body.readableBytesView.first == UInt8(ascii: "["))
    }
}
