import EventTopology
import Foundation
import OrderMessages
import Testing

@testable import AMQP
@testable import Operations
@testable import OrderCtl

@Suite("Dead letters")
struct DeadLetterTests {
    @Test("a dead letter says what failed, when, how often, and of what")
    func reads() throws {
        let letter = letter(headers: refusal)
        #expect((letter.group, letter.status, letter.attempts, letter.redriveCount) == ("422", 422, 3, 0))
        #expect(letter.orderID == UUID(uuidString: "019c0a2f-5d10-7c3e-9a55-0c6f3f4b1a20"))
        #expect(letter.failedAt == Date(rfc3339: "2026-01-31T09:05:00.250Z"))
    }

    @Test("what the broker gave up is of the group poison, with the broker's time; what is no event has no order")
    func poison() {
        let death: [String: AMQPField] = ["time": .timestamp(1_769_850_300), "reason": .string("delivery_limit")]
        let poisoned = letter(body: "no JSON", headers: ["x-death": .array([.table(death)])])
        #expect(poisoned.group == DeadLetter.poisonGroup)
        #expect(poisoned.failedAt == Date(timeIntervalSince1970: 1_769_850_300))
        #expect(poisoned.orderID == nil && poisoned.status == nil && !poisoned.error.isEmpty)
        #expect(letter().failedAt == nil)
    }

    @Test("a redriven event looks as new, but for its redrive, and goes to the forward queue alone")
    func redriven() {
        var headers = refusal
        headers["x-redrive-count"] = .int64(2)
        headers["x-redrive-id"] = .string("before")
        headers["x-death"] = .array([])
        headers["x-first-death-queue"] = .string("q")
        headers["x-delivery-count"] = .int64(4)
        let message = letter(headers: headers).redriven(by: "now")
        #expect((message.exchange, message.routingKey) == ("", BrokerNames.forwardQueue))
        #expect(
            message.headers == [
                "x-occurred-at-ms": .int64(1_769_850_300_250), "traceparent": .string("00-1-2-01"),
                "x-redrive-count": .int64(3), "x-redrive-id": .string("now"),
            ]
        )
        #expect(message.isPersistent && message.messageID == letter().eventID)
        #expect((message.type, message.appID, message.timestamp) == ("order.paid.v1", "order-api", 1_769_850_300))
    }

    @Test("a selection means what it says")
    func selections() throws {
        let failed = letter(headers: refusal)
        let time = try #require(failed.failedAt)
        #expect(DeadLetterSelection.all.matches(letter()))
        #expect(DeadLetterSelection.event(failed.eventID.uppercased()).matches(failed))
        #expect(!DeadLetterSelection.event("other").matches(failed))
        #expect(DeadLetterSelection.group("422").matches(failed))
        #expect(!DeadLetterSelection.group("422").matches(letter()))
        #expect(DeadLetterSelection.group("poison").matches(letter()))
        #expect(DeadLetterSelection.since(time).matches(failed))
        #expect(!DeadLetterSelection.since(time.addingTimeInterval(0.001)).matches(failed))
        #expect(!DeadLetterSelection.since(.distantPast).matches(letter()))
        #expect("\(DeadLetterSelection.since(time))" == "--since 2026-01-31T09:05:00.250Z")
    }

    @Test("times are said in RFC 3339 or as so long ago, and nothing else is one")
    func times() {
        let now = Date(timeIntervalSince1970: 1_769_850_300)
        #expect(OperatorTime.parse("2026-01-31T09:05:00Z", now: now) == now)
        #expect(OperatorTime.parse("2026-01-31T18:05:00.000+09:00", now: now) == now)
        #expect(OperatorTime.parse("90s", now: now) == now.addingTimeInterval(-90))
        #expect(OperatorTime.parse("15m", now: now) == now.addingTimeInterval(-900))
        #expect(OperatorTime.parse("15m", now: now.addingTimeInterval(0.9)) == now.addingTimeInterval(-900))
        #expect(OperatorTime.parse("3d", now: now) == now.addingTimeInterval(-259_200))
        for text in ["", "yesterday", "-5m", "5", "m", "2026-01-31", "5 m"] {
            #expect(OperatorTime.parse(text, now: now) == nil, "\(text)")
        }
    }

    @Test(
        "an exported message is one line of JSON, whatever its body",
        arguments: ["{\"a\":\r\n 1}", "a\n\"b\"", "[1]"]
    )
    func exports(body: String) throws {
        var headers = refusal
        headers["x-bytes"] = .bytes([0xFF])
        headers["x-death"] = .array([.table(["time": .timestamp(1_769_850_300)])])
        let line = try DeadLetterMessage(letter: letter(body: body, headers: headers)).json
        #expect(!line.contains { $0.isNewline })
        let object = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(object["routingKey"] as? String == "failed" && object["group"] as? String == "422")
        switch object["body"] {
        case let text as String: #expect(text == body)
        case let object as [String: Int]: #expect(object == ["a": 1])
        default: #expect(object["body"] as? [Int] == [1])
        }
        let exported = try #require(object["headers"] as? [String: Any])
        #expect(exported["x-error-status"] as? Int == 422 && exported["x-bytes"] as? String == "/w==")
    }

    @Test("groups are counted, the largest first, and beyond the most they are only counted together")
    func groups() {
        var groups = DeadLetterGroups(maximum: 2)
        groups.add(letter())
        for second in [5, 1, 3] {
            var headers = refusal
            headers["x-failed-at"] = .string("2026-01-31T09:05:0\(second).000Z")
            groups.add(letter(headers: headers))
        }
        groups.add(letter(headers: ["x-fingerprint": .string("third")]))
        let sorted = groups.sorted
        #expect(sorted.map(\.group) == ["422", "poison"] && sorted.map(\.messages) == [3, 1])
        #expect(sorted[0].oldestFailedAt == "2026-01-31T09:05:01.000Z")
        #expect(sorted[0].newestFailedAt == "2026-01-31T09:05:05.000Z")
        #expect(groups.uncounted == 1)
    }
}
