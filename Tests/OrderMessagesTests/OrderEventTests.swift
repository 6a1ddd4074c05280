import Foundation
import OrderDomain
import OrderMessages
import Testing

@Suite("Order events")
struct OrderEventTests {
    private func event(traceparent: String?, data: String) throws -> OrderEvent {
        OrderEvent(
            id: try #require(UUID(uuidString: "01990A2B-3C4D-7E5F-8ABC-DEF012345678")),
            orderID: OrderID(try #require(UUID(uuidString: "01990A2B-0000-7000-8000-00000000ABCD"))),
            sequence: 3,
            type: OrderEventType.statusChanged.rawValue,
            occurredAt: Date(timeIntervalSince1970: 1_769_850_300.25),
            traceparent: traceparent,
            data: data
        )
    }

    private static let fields = """
        "specversion":"1.0","id":"01990a2b-3c4d-7e5f-8abc-def012345678","source":"/jumun/orders",
        "type":"order.status-changed.v1","subject":"01990a2b-0000-7000-8000-00000000abcd",
        "time":"2026-01-31T09:05:00.250Z","datacontenttype":"application/json",
        "partitionkey":"01990a2b-0000-7000-8000-00000000abcd","sequence":3
        """

    @Test("the envelope has exactly the fields of the contract")
    func envelope() throws {
        let plain = try event(traceparent: nil, data: #"{"id":1}"#).encodedEnvelope()
        #expect(try canonical(plain) == canonical(#"{\#(Self.fields),"data":{"id":1}}"#))
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let traced = try event(traceparent: traceparent, data: #"{"id":1}"#).encodedEnvelope()
        #expect(
            try canonical(traced) == canonical(#"{\#(Self.fields),"traceparent":"\#(traceparent)","data":{"id":1}}"#)
        )
    }

    @Test("a traceparent cannot break out of the envelope")
    func hostileTraceparent() throws {
        let hostile = #"x","data":{"id":2},"y":"\"#
        let json = try event(traceparent: hostile, data: #"{"id":1}"#).encodedEnvelope()
        let value = try JSONSerialization.jsonObject(with: Data(json.utf8))
        let fields = try #require(value as? [String: Any])
        #expect(fields.count == 11 && fields["traceparent"] as? String == hostile)
        #expect(fields["data"] as? [String: Int] == ["id": 1])
    }

    @Test(
        "the data goes in byte for byte",
        arguments: [
            #"{"b":1,"a":1.50,"c":1e2}"#, "{ }", #"{"a":"\u00e9\/"}"#, #"{"name":"김 😀"}"#, "{\n  \"a\": [1,  2]\n}",
            "{\"crlf\":\r\n1}",
        ]
    )
    func dataAsItStands(data: String) throws {
        let json = try event(traceparent: nil, data: data).encodedEnvelope()
        let end = #","data":\#(data)}"#.utf8
        #expect(Array(json.utf8.suffix(end.count)) == Array(end))
        #expect(try canonical(json) == canonical(#"{\#(Self.fields),"data":\#(data)}"#))
    }

    @Test("the names on the wire")
    func names() {
        #expect(
            OrderEventType.allCases.map(\.rawValue)
                == ["order.paid.v1", "order.cancelled.v1", "order.status-changed.v1"]
        )
        #expect(OrderEvent.contentType == "application/cloudevents+json" && OrderEvent.source == "/jumun/orders")
    }
}
