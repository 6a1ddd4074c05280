import AMQP
import Foundation
import Testing

@testable import Consumer

@Suite("Where a message goes that could not be delivered")
struct DestinationTests {
    private let headers: [String: AMQPField] = [
        "x-attempt": .int64(2),
        "x-crashes": .int64(1),
        "x-occurred-at-ms": .int64(1_234),
        "x-redrive-id": .string("r1"),
        "traceparent": .string("00-ab-cd-01"),
        "x-death": .array([]),
        "x-first-death-queue": .string("q"),
        "x-last-death-reason": .string("expired"),
        "x-delivery-count": .int64(1),
        "x-odd": .unsupported(kind: 1),
    ]

    @Test("a retry keeps the publisher's headers, drops the broker's, and carries the attempts")
    func retry() {
        let destination = Destination.retry(tierMs: 4_000, isLate: false, failedAttempts: 3, headers: headers)
        #expect(destination.exchange == "dataplatform.retry")
        #expect(destination.routingKey == "4000")
        #expect(
            destination.headers == [
                "x-attempt": .int64(3), "x-occurred-at-ms": .int64(1_234), "traceparent": .string("00-ab-cd-01"),
                "x-redrive-id": .string("r1"),
            ]
        )
        let late = Destination.retry(tierMs: 4_000, isLate: true, failedAttempts: 3, headers: headers)
        #expect(late.routingKey == "4000.late")
    }

    @Test("crashes go along when nothing was done with it, and are counted over the queues")
    func crashes() {
        let delivery = Events.delivery(headers: headers)
        #expect(delivery.crashes == 2)
        let aside = Destination.retry(tierMs: 1_000, isLate: false, failedAttempts: 2, crashes: 2, headers: headers)
        #expect(aside.headers["x-crashes"] == .int64(2))
        #expect(Events.delivery(headers: ["x-crashes": .int64(-5)]).crashes == 0)
    }

    @Test("a dead letter says what was wrong and when")
    func deadLetter() {
        let now = Date(timeIntervalSince1970: 1_700_000_000.25)
        let reason = Destination.Reason(status: 422, error: "refused", fingerprint: "422 refused")
        let destination = Destination.deadLetter(reason, failedAttempts: 3, at: now, headers: headers)
        #expect(destination.exchange == "dataplatform.dlx")
        #expect(destination.routingKey == "failed")
        #expect(destination.headers["x-error-status"] == .int64(422))
        #expect(destination.headers["x-error-message"] == .string("refused"))
        #expect(destination.headers["x-fingerprint"] == .string("422 refused"))
        #expect(destination.headers["x-failed-at"] == .string("2023-11-14T22:13:20.250Z"))
        #expect(destination.headers["x-attempt"] == .int64(3))
        #expect(destination.headers["x-redrive-id"] == .string("r1"))
        #expect(destination.headers["x-death"] == nil)
        #expect(destination.headers["x-crashes"] == nil)
        let poison = Destination.deadLetter(.crashes(20), failedAttempts: 0, at: now, headers: [:])
        #expect(poison.routingKey == "poison")
    }

    @Test("a long error text is cut between characters, at 2 kB")
    func longError() throws {
        let error = String(repeating: "é", count: 1_023) + "한" + "tail"
        let destination = Destination.deadLetter(
            .init(error: error, fingerprint: ""),
            failedAttempts: 0,
            at: Date(),
            headers: [:]
        )
        let text = try #require(destination.headers["x-error-message"]?.string)
        #expect(text == String(repeating: "é", count: 1_023))
        #expect(destination.headers["x-error-status"] == nil)
    }
}
