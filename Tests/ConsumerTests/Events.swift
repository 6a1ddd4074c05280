import Foundation

@testable import AMQP
@testable import Consumer

/// Deliveries as the broker would hand them out.
enum Events {
    static func body(
        id: UUID = UUID(),
        order: UUID = UUID(),
        sequence: Int = 1,
        extra: String = ""
    ) -> [UInt8] {
        Array(
            (#"{"specversion":"1.0","id":"\#(id.uuidString.lowercased())","source":"/jumun/orders","#
                + #""type":"order.paid.v1","subject":"\#(order.uuidString.lowercased())","sequence":\#(sequence)\#(extra)}"#)
                .utf8
        )
    }

    static func delivery(
        _ body: [UInt8] = body(),
        tag: UInt64 = 1,
        messageID: String? = nil,
        headers: [String: AMQPField] = [:]
    ) -> AMQPDelivery {
        AMQPDelivery(
            generation: 1,
            tag: tag,
            body: body,
            messageID: messageID,
            type: nil,
            contentType: nil,
            appID: nil,
            timestamp: nil,
            headers: headers,
            isPersistent: true,
            redelivered: false,
            exchange: "",
            routingKey: ""
        )
    }

    static func event(
        id: UUID = UUID(),
        order: UUID = UUID(),
        sequence: Int = 1,
        headers: [String: AMQPField] = [:]
    ) throws -> ForwardedEvent {
        try ForwardedEvent(
            delivery(body(id: id, order: order, sequence: sequence), headers: headers),
            now: Date(timeIntervalSince1970: 1_000)
        )
    }
}
