import Testing

@testable import Consumer

@Suite("What is done with an event after a request")
struct DeliveryPolicyTests {
    @Test("every 2xx is a delivery", arguments: [200, 201, 202, 204, 299])
    func success(status: Int) {
        #expect(verdict(status) == .delivered)
    }

    @Test("a status that may pass by itself is tried again", arguments: [408, 425, 429, 500, 502, 503, 504, 599])
    func transient(status: Int) {
        #expect(verdict(status) == .retry(tierMs: 1_000, countsAsAttempt: true))
    }

    @Test("a refusal and a redirect are dead letters", arguments: [300, 301, 304, 307, 400, 401, 404, 409, 413, 422])
    func permanent(status: Int) {
        #expect(verdict(status) == .deadLetter(reason: "the platform refused it"))
    }

    @Test("the tiers grow with the attempts, and the last one serves for ever")
    func tiers() {
        let expected = [1, 2, 4, 8, 16, 32, 60, 120, 300, 300, 300].map { $0 * 1_000 }
        for (attempts, tierMs) in expected.enumerated() {
            for outcome in [RequestOutcome.timedOut, .networkFailure("refused")] {
                let verdict = DeliveryPolicy.verdict(on: outcome, attempts: attempts)
                #expect(verdict == .retry(tierMs: tierMs, countsAsAttempt: true))
            }
        }
        let farGone = DeliveryPolicy.verdict(on: .timedOut, attempts: .max)
        #expect(farGone == .retry(tierMs: 300_000, countsAsAttempt: true))
    }

    @Test(
        "a platform that says when to come back is obeyed, and no attempt is counted",
        arguments: [(0, 1_000), (1, 1_000), (3, 4_000), (4, 4_000), (33, 60_000), (300, 300_000), (86_400, 300_000)]
    )
    func retryAfter(seconds: Int, tierMs: Int) {
        for status in [429, 503] {
            let outcome = RequestOutcome.answered(status: status, retryAfter: .seconds(seconds), message: "")
            #expect(
                DeliveryPolicy.verdict(on: outcome, attempts: 5) == .retry(tierMs: tierMs, countsAsAttempt: false)
            )
        }
    }

    @Test("Retry-After changes nothing with another status")
    func retryAfterElsewhere() {
        let failure = RequestOutcome.answered(status: 500, retryAfter: .seconds(60), message: "")
        #expect(DeliveryPolicy.verdict(on: failure, attempts: 1) == .retry(tierMs: 2_000, countsAsAttempt: true))
        let success = RequestOutcome.answered(status: 200, retryAfter: .seconds(60), message: "")
        #expect(DeliveryPolicy.verdict(on: success, attempts: 1) == .delivered)
    }

    @Test("the waits before giving back grow to a maximum")
    func pauses() {
        #expect(DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: 0) == .seconds(1))
        #expect(DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: 4) == .seconds(5))
        #expect(DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: 1_000) == .seconds(30))
    }

    private func verdict(_ status: Int) -> DeliveryPolicy.Verdict {
        DeliveryPolicy.verdict(on: .answered(status: status, retryAfter: nil, message: ""), attempts: 0)
    }
}
