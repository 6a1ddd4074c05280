import Foundation
import OrderDomain
import Testing

@testable import OrderCtl

@Suite("The way of an event")
struct TimelineTests {
    private static let commit = Date(timeIntervalSince1970: 1_769_850_300)

    private static func after(_ milliseconds: Double) -> Date { commit.addingTimeInterval(milliseconds / 1_000) }

    private static func trail(
        _ attempts: [DeliveryAttempt],
        redrives: [EventRedrive] = [],
        purge: EventPurge? = nil
    ) -> EventTrail {
        EventTrail(
            eventID: UUID(uuidString: "019c0a2f-5d10-7c3e-9a55-0c6f3f4b1a21"),
            type: "order.paid.v1",
            sequence: 1,
            occurredAt: commit,
            isConfirmed: true,
            confirmedAt: after(12),
            attempts: attempts,
            redrives: redrives,
            purge: purge
        )
    }

    @Test("every step stands with its milliseconds since the commit")
    func steps() {
        let failed = DeliveryAttempt(
            at: Self.after(40),
            number: 1,
            outcome: .retried,
            status: 503,
            error: "overloaded",
            retryAfterMs: 1_000
        )
        let dead = DeliveryAttempt(
            at: Self.after(1_050),
            number: 2,
            outcome: .deadLettered,
            status: 422,
            error: "refused",
            retryAfterMs: nil
        )
        let delivered = DeliveryAttempt(
            at: Self.after(61_000),
            number: 1,
            outcome: .delivered,
            status: 202,
            error: nil,
            retryAfterMs: nil
        )
        let redrive = EventRedrive(redriveID: "r1", at: Self.after(60_000))
        let trail = Self.trail([failed, dead, delivered], redrives: [redrive])
        #expect(
            Timeline(trail).text == """
                order.paid.v1  #1  019c0a2f-5d10-7c3e-9a55-0c6f3f4b1a21  DELIVERED
                    ms  step
                     0  committed    2026-01-31T09:05:00.000Z
                    12  confirmed    by RabbitMQ
                    40  attempt 1    status 503: overloaded; again in 1 s
                 1,050  dead letter  attempt 2, status 422: refused
                60,000  redriven     by r1
                61,000  delivered    attempt 1, status 202
                """
        )
        #expect(Timeline(Self.trail([failed, dead])).text.contains("waits for a person"))
        let purge = EventPurge(by: "mina", at: Self.after(9_000))
        let purged = Timeline(Self.trail([failed, dead], purge: purge)).text
        #expect(purged.contains("9,000  purged       by mina: never to be sent") && !purged.contains("waits"))
    }

    @Test("how far an event has come")
    func status() {
        func attempt(_ outcome: DeliveryAttempt.Outcome, _ milliseconds: Double) -> DeliveryAttempt {
            .init(at: Self.after(milliseconds), number: 1, outcome: outcome, status: nil, error: nil, retryAfterMs: nil)
        }
        #expect(Self.trail([]).status == .confirmed)
        #expect(Self.trail([attempt(.retried, 1)]).status == .retrying)
        #expect(Self.trail([attempt(.deadLettered, 1)]).status == .deadLettered)
        let redrive = EventRedrive(redriveID: "r", at: Self.after(5))
        #expect(Self.trail([attempt(.deadLettered, 1)], redrives: [redrive]).status == .retrying)
        #expect(Self.trail([attempt(.deadLettered, 9)], redrives: [redrive]).status == .deadLettered)
        let purge = EventPurge(by: "mina", at: Self.after(6))
        #expect(Self.trail([attempt(.deadLettered, 1)], redrives: [redrive], purge: purge).status == .purged)
        #expect(Self.trail([], purge: purge).status == .purged)
        #expect(Self.trail([attempt(.deadLettered, 9)], purge: purge).status == .deadLettered)
        #expect(Self.trail([attempt(.delivered, 2)], purge: purge).status == .delivered)
        #expect(Self.trail([attempt(.retried, 1), attempt(.delivered, 2)]).status == .delivered)
        #expect(Self.trail([attempt(.retried, 1), attempt(.delivered, 2)]).deliveredAt == Self.after(2))
    }
}
