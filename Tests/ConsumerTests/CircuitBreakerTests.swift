import AMQP
import EventTopology
import Foundation
import Logging
import SeededRandom
import Testing

@testable import Consumer

@Suite("The circuit breaker, with a clock in hand")
struct CircuitBreakerTests {
    private let start = ContinuousClock.now

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    private func opened(at seconds: Double = 0) -> CircuitBreaker {
        var breaker = CircuitBreaker(maximumRequests: 8)
        for _ in 0..<10 { breaker.fail(at: at(seconds)) }
        return breaker
    }

    @Test("ten failures in a row open it; nine and a success don't")
    func row() {
        var breaker = CircuitBreaker(maximumRequests: 8)
        for _ in 0..<9 { breaker.fail(at: at(0)) }
        #expect(breaker.state == .closed)
        breaker.succeed()
        for _ in 0..<8 { breaker.fail(at: at(0)) }
        #expect(breaker.state == .closed)
        #expect(opened().state == .open(until: at(1)))
    }

    @Test("half of the last twenty open it, not before there are twenty, and not one less")
    func share() {
        var half = CircuitBreaker(maximumRequests: 8)
        for _ in 0..<9 {
            half.succeed()
            half.fail(at: at(0))
        }
        #expect(half.state == .closed)
        half.succeed()
        #expect(half.state == .closed)
        half.fail(at: at(0))
        #expect(half.state == .open(until: at(1)))

        var less = CircuitBreaker(maximumRequests: 8)
        for index in 0..<100 {
            if index % 20 < 9 { less.fail(at: at(0)) } else { less.succeed() }
            #expect(less.state == .closed)
        }
    }

    @Test("open it lets nothing through until its pause is over; then it is half open")
    func pause() {
        var breaker = opened()
        let (early, due) = (breaker.beginProbe(at: at(0.99)), breaker.beginProbe(at: at(1)))
        #expect(!early)
        #expect(due)
        #expect(breaker.state == .halfOpen)
    }

    @Test("probes come after 1, 2, 4, 8, 16, 30 and again 30 s, and after a success 1 s again")
    func probes() {
        var breaker = opened()
        var now = 0.0
        for pause in [1.0, 2, 4, 8, 16, 30, 30] {
            #expect(breaker.state == .open(until: at(now + pause)))
            now += pause
            let isDue = breaker.beginProbe(at: at(now))
            #expect(isDue)
            breaker.fail(at: at(now))
        }
        now += 30
        _ = breaker.beginProbe(at: at(now))
        breaker.succeed()
        #expect(breaker.state == .closed)
        for _ in 0..<10 { breaker.fail(at: at(now)) }
        #expect(breaker.state == .open(until: at(now + 1)))
    }

    @Test("the platform's own wish lengthens the pause, up to 300 s")
    func retryAfter() {
        var breaker = CircuitBreaker(maximumRequests: 8)
        for _ in 0..<10 { breaker.fail(at: at(0), retryAfter: .seconds(7)) }
        #expect(breaker.state == .open(until: at(7)))
        _ = breaker.beginProbe(at: at(7))
        breaker.fail(at: at(7), retryAfter: .seconds(86_400))
        #expect(breaker.state == .open(until: at(307)))
    }

    @Test("closed again it begins with one request, and doubles with each success up to all")
    func slowStart() {
        var breaker = opened()
        #expect(breaker.allowance == 8)
        _ = breaker.beginProbe(at: at(1))
        breaker.succeed()
        var allowances = [breaker.allowance]
        for _ in 0..<4 {
            breaker.succeed()
            allowances.append(breaker.allowance)
        }
        #expect(allowances == [1, 2, 4, 8, 8])
    }

    @Test("what ends while it is open says nothing about now")
    func late() {
        var breaker = opened()
        breaker.succeed()
        breaker.fail(at: at(0.5))
        #expect(breaker.state == .open(until: at(1)))
    }

    @Test("a platform that fails three times in ten keeps it open less than a third of the requests' time")
    func flaky() {
        var generator = SplitMix64(seed: 20_261_124)
        var breaker = CircuitBreaker(maximumRequests: 4)
        var (now, open) = (0.0, 0.0)
        for _ in 0..<20_000 {
            if case .open = breaker.state {
                while !breaker.beginProbe(at: at(now)) { (now, open) = (now + 0.5, open + 0.5) }
            }
            now += 0.05
            if Double.random(in: 0..<1, using: &generator) < 0.3 {
                breaker.fail(at: at(now))
            } else {
                breaker.succeed()
            }
        }
        #expect(open / now < 0.33, "open \(open) of \(now) s, seed 20261124")
    }
}

@Suite("What a failure is for its events")
struct WeightTests {
    private let circuit = Circuit(maximumRequests: 4, logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })

    private func fail() throws -> DeliveryPolicy.Weight {
        let event = try Events.event(headers: [EventHeaders.attempt: .int64(9)])
        return circuit.noteFailure(of: [event], retryAfter: nil, error: "status 500")
    }

    @Test("only one that follows a success may be an event's last attempt; none is that opens the circuit")
    func weights() throws {
        #expect(try fail() == .withoutEnd)
        circuit.noteSuccess()
        #expect(try fail() == .full)
        for _ in 0..<8 { #expect(try fail() == .withoutEnd) }
        #expect(try fail() == .none)
        #expect(circuit.isOpen)
        circuit.noteSuccess()
        #expect(try fail() == .none)
    }
}

@Suite("Attempts that an outage took are taken back")
struct AttemptLedgerTests {
    private static let start = ContinuousClock.now
    private let first = UUID()
    private let second = UUID()

    @Test("when the breaker opens, an event has what it had before the first of the failures that opened it")
    func forgiven() {
        var ledger = AttemptLedger()
        ledger.failed([first: 3])
        ledger.failed([first: 4, second: 0])
        expect(&ledger, first, saying: 5, counts: 5)
        ledger.opened(at: Self.start)
        expect(&ledger, first, saying: 5, counts: 3)
        expect(&ledger, second, saying: 1, counts: 0)
        expect(&ledger, UUID(), saying: 2, counts: 2)
    }

    @Test("once an event has been put right, its later attempts count")
    func once() {
        var ledger = AttemptLedger()
        ledger.failed([first: 0])
        ledger.opened(at: Self.start)
        expect(&ledger, first, saying: 1, counts: 0)
        expect(&ledger, first, saying: 1, counts: 1)
    }

    @Test("what lies before the last twenty requests counts")
    func old() {
        var ledger = AttemptLedger()
        ledger.failed([first: 0])
        for _ in 0..<20 { ledger.succeeded() }
        ledger.opened(at: Self.start)
        expect(&ledger, first, saying: 1, counts: 1)
    }

    @Test("an event that never comes back is forgotten after a day, also one that failed in two outages")
    func forgotten() {
        var ledger = AttemptLedger()
        ledger.failed([first: 1, second: 1])
        ledger.opened(at: Self.start)
        let later = Self.start + .seconds(3_600)
        ledger.failed([second: 2])
        ledger.opened(at: later)
        #expect(ledger.count == 2)
        let day = Self.start + AttemptLedger.forgivenTime
        #expect(ledger.attempts(of: UUID(), saying: 7, at: day) == 7)
        #expect(ledger.count == 2)
        #expect(ledger.attempts(of: first, saying: 2, at: day + .seconds(1)) == 2)
        #expect(ledger.count == 0)
    }

    @Test("an event that came back and failed in a further outage is remembered from then on")
    func rememberedAnew() {
        var ledger = AttemptLedger()
        ledger.failed([first: 0])
        ledger.opened(at: Self.start)
        expect(&ledger, first, saying: 1, counts: 0)
        ledger.failed([first: 0])
        ledger.opened(at: Self.start + .seconds(3_600))
        let day = Self.start + AttemptLedger.forgivenTime + .seconds(1)
        #expect(ledger.attempts(of: first, saying: 1, at: day) == 0)
    }

    @Test("of too many events the oldest are forgotten")
    func full() {
        var ledger = AttemptLedger()
        ledger.failed([first: 0])
        ledger.opened(at: Self.start)
        for _ in 0..<AttemptLedger.maximumForgiven / 5_000 {
            ledger.failed(Dictionary(uniqueKeysWithValues: (0..<5_000).map { _ in (UUID(), 0) }))
        }
        ledger.failed([second: 0])
        ledger.opened(at: Self.start)
        #expect(ledger.count == AttemptLedger.maximumForgiven)
        expect(&ledger, first, saying: 1, counts: 1)
        expect(&ledger, second, saying: 1, counts: 0)
    }

    private func expect(
        _ ledger: inout AttemptLedger,
        _ id: UUID,
        saying attempts: Int,
        counts expected: Int,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let counted = ledger.attempts(of: id, saying: attempts, at: Self.start)
        #expect(counted == expected, sourceLocation: sourceLocation)
    }
}
