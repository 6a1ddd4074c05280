import AMQP
import Testing

@testable import Consumer

@Suite("Reading an event from a message")
struct ForwardedEventTests {
    private let body = Array(#"{"specversion":"1.0","id":"in-the-body"}"#.utf8)

    @Test("the message's id, its headers and the body as it came")
    func everything() throws {
        let event = try ForwardedEvent(
            body: body,
            messageID: "e-1",
            headers: ["traceparent": .string("00-ab-cd-01"), "x-occurred-at-ms": .int64(1_234), "x-attempt": .int64(3)]
        )
        #expect(event.id == "e-1")
        #expect(event.body == body)
        #expect(event.traceparent == "00-ab-cd-01")
        #expect(event.occurredAtMs == 1_234)
        #expect(event.attempts == 3)
    }

    @Test("without anything but the body")
    func bare() throws {
        let event = try ForwardedEvent(body: body, messageID: nil, headers: [:])
        #expect(event.id == "in-the-body")
        #expect(event.traceparent == nil)
        #expect(event.occurredAtMs == nil)
        #expect(event.attempts == 0)
    }

    @Test("headers that make no sense are left out")
    func senseless() throws {
        let headers: [String: AMQPField] = [
            "traceparent": .string("00\r\nX-Evil: 1"), "x-attempt": .int64(-7), "x-occurred-at-ms": .string("noon"),
        ]
        let event = try ForwardedEvent(body: body, messageID: "e-1", headers: headers)
        #expect(event.traceparent == nil)
        #expect(event.occurredAtMs == nil)
        #expect(event.attempts == 0)
    }

    @Test("what is no event is refused", arguments: ["", "no JSON", "[]", "{}", #"{"id":7}"#])
    func unreadable(text: String) {
        #expect(throws: ForwardedEvent.Unreadable.self) {
            try ForwardedEvent(body: Array(text.utf8), messageID: "e-1", headers: [:])
        }
    }

    @Test("an id that doesn't fit a header is refused", arguments: ["", "a b", "a\r\nb", "é"])
    func unusableID(id: String) {
        #expect(throws: ForwardedEvent.Unreadable.self) {
            try ForwardedEvent(body: body, messageID: id, headers: [:])
        }
    }
}
