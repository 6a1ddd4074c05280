import Testing

@testable import Backoff

@Suite("Backoff")
struct BackoffTests {
    @Test("the ceiling doubles up to the cap")
    func doublesUpToCap() {
        var backoff = Backoff(base: .milliseconds(100), cap: .milliseconds(450))
        for ceiling in [100, 200, 400, 450, 450] {
            let delay = backoff.next()
            #expect(delay > .milliseconds(ceiling) * 0.49 && delay <= .milliseconds(ceiling))
        }
    }

    @Test("every delay lies in the upper half of its ceiling")
    func staysInUpperHalf() {
        var backoff = Backoff(base: .milliseconds(10), cap: .seconds(1))
        for attempt in 0..<1_000 {
            let ceiling = min(Duration.seconds(1), .milliseconds(10) * (1 << min(attempt, 30)))
            let delay = backoff.next()
            #expect(delay >= ceiling * 0.5 && delay <= ceiling)
        }
    }

    @Test("a reset starts over")
    func resets() {
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(10))
        for _ in 0..<5 { _ = backoff.next() }
        backoff.reset()
        #expect(backoff.attempts == 0)
        #expect(backoff.next() <= .milliseconds(100))
    }
}
