import EventTopology
import Foundation

@testable import AMQP
@testable import Operations
@testable import OrderCtl

/// A dead letter as the consumer leaves it.
func letter(
    _ id: String = "019c0a2f-5d10-7c3e-9a55-0c6f3f4b1a21",
    body: String = #"{"id":"x","subject":"019c0a2f-5d10-7c3e-9a55-0c6f3f4b1a20","type":"order.paid.v1"}"#,
    headers: [String: AMQPField] = [:]
) -> DeadLetter {
    DeadLetter(
        AMQPDelivery(
            generation: 0,
            tag: 1,
            body: Array(body.utf8),
            messageID: id,
            type: "order.paid.v1",
            contentType: "application/cloudevents+json",
            appID: "order-api",
            timestamp: 1_769_850_300,
            headers: headers,
            isPersistent: true,
            redelivered: false,
            exchange: BrokerNames.deadLetterExchange,
            routingKey: BrokerNames.failedKey
        )
    )
}

/// Why it failed, as the consumer says it.
let refusal: [String: AMQPField] = [
    "x-error-status": .int64(422), "x-error-message": .string("status 422"), "x-fingerprint": .string("422"),
    "x-failed-at": .string("2026-01-31T09:05:00.250Z"), "x-attempt": .int64(3), "x-crashes": .int64(1),
    "x-occurred-at-ms": .int64(1_769_850_300_250), "traceparent": .string("00-1-2-01"),
]
