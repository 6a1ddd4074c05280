import Testing

@testable import Consumer

@Suite("What is done with an event after a request")
struct DeliveryPolicyTests {
    @Test("every 2xx is a delivery", arguments: [200, 201, 202, 204, 299])
    func success(status: Int) {
        #expect(verdict(status) == .delivered)
    }

    @Test("a status that may pass by itself is a failure", arguments: [401, 408, 425, 429, 500, 502, 503, 504, 599])
    func transient(status: Int) {
        #expect(verdict(status) == .failed)
    }

    @Test("no answer is a failure")
    func silence() {
        #expect(DeliveryPolicy.verdict(on: .timedOut) == .failed)
        #expect(DeliveryPolicy.verdict(on: .networkFailure("refused")) == .failed)
    }

    @Test("another 4xx and a redirect are refusals", arguments: [300, 301, 304, 307, 400, 403, 404, 409, 413, 422])
    func permanent(status: Int) {
        #expect(verdict(status) == .refused)
    }

    @Test("the tiers grow with the attempts, and the tenth is the last")
    func tiers() {
        let expected = [1, 2, 4, 8, 16, 32, 60, 120, 300].map { $0 * 1_000 }
        for (attempts, tierMs) in expected.enumerated() {
            let expected = DeliveryPolicy.Next.retry(tierMs: tierMs, attempts: attempts + 1)
            #expect(DeliveryPolicy.afterFailure(attempts: attempts, .full) == expected)
            #expect(DeliveryPolicy.afterFailure(attempts: attempts, .withoutEnd) == expected)
        }
        #expect(DeliveryPolicy.afterFailure(attempts: 9, .full) == .deadLetter(attempts: 10))
        #expect(DeliveryPolicy.afterFailure(attempts: .max, .full) == .deadLetter(attempts: 11))
        #expect(DeliveryPolicy.afterFailure(attempts: -5, .full) == .retry(tierMs: 1_000, attempts: 1))
    }

    @Test("a failure that may be one of an outage is never the last attempt", arguments: [9, 10, 1_000])
    func withoutEnd(attempts: Int) {
        let next = DeliveryPolicy.afterFailure(attempts: attempts, .withoutEnd)
        #expect(next == .retry(tierMs: 300_000, attempts: attempts))
    }

    @Test("a failure that doesn't count changes no count, and never gives up", arguments: [0, 5, 9, 1_000])
    func uncounted(attempts: Int) {
        let next = DeliveryPolicy.afterFailure(attempts: attempts, .none)
        #expect(next == .retry(tierMs: 1_000, attempts: attempts))
    }

    @Test(
        "a platform that says when to come back is obeyed",
        arguments: [(0, 1_000), (1, 1_000), (3, 4_000), (4, 4_000), (33, 60_000), (300, 300_000), (86_400, 300_000)]
    )
    func retryAfter(seconds: Int, tierMs: Int) {
        for status in [429, 503] {
            let outcome = RequestOutcome.answered(status: status, retryAfter: .seconds(seconds), message: "")
            #expect(DeliveryPolicy.verdict(on: outcome) == .postponed(.seconds(seconds)))
        }
        #expect(DeliveryPolicy.tier(noShorterThan: .seconds(seconds)) == tierMs)
    }

    @Test("Retry-After changes nothing with another status")
    func retryAfterElsewhere() {
        let failure = RequestOutcome.answered(status: 500, retryAfter: .seconds(60), message: "")
        #expect(DeliveryPolicy.verdict(on: failure) == .failed)
        let success = RequestOutcome.answered(status: 200, retryAfter: .seconds(60), message: "")
        #expect(DeliveryPolicy.verdict(on: success) == .delivered)
    }

    @Test("the waits before giving back grow to a maximum")
    func pauses() {
        #expect(DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: 0) == .seconds(1))
        #expect(DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: 4) == .seconds(5))
        #expect(DeliveryPolicy.pauseBeforeGivingBack(deliveryCount: 1_000) == .seconds(30))
    }

    private func verdict(_ status: Int) -> DeliveryPolicy.Verdict {
        DeliveryPolicy.verdict(on: .answered(status: status, retryAfter: nil, message: ""))
    }
}

@Suite("Fingerprints of failures")
struct FingerprintTests {
    @Test("a problem's code, else its title, else the text without what has digits")
    func causes() {
        func fingerprint(_ message: String) -> String {
            Fingerprint.of(.answered(status: 422, retryAfter: nil, message: message))
        }
        #expect(fingerprint(#"{"type":"/p","code":"event_rejected","detail":"s1"}"#) == "422 event_rejected")
        #expect(fingerprint(#"{"title":"No such thing"}"#) == "422 no such thing")
        #expect(fingerprint("Order 0190-ab of user7 is odd") == "422 order # of # is odd")
        #expect(fingerprint(String(repeating: "x", count: 5_000)).count == 104)
        #expect(Fingerprint.of(.timedOut) == "timeout")
        #expect(Fingerprint.of(.networkFailure("x")) == "network")
        #expect(Fingerprint.unreadable("no JSON") == "unreadable: no json")
    }
}
