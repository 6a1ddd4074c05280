import Foundation
import SeededRandom
import Testing

@testable import Consumer

@Suite("Which requests a batch makes")
struct RequestPlanTests {
    /// Runs a plan against a platform that refuses every request with one of the poison elements in it.
    private func run(_ count: Int, poison: Set<Int>) -> (delivered: [Int], refused: [Int], requests: Int) {
        var plan = RequestPlan(Array(0..<count), maximumBytes: .max) { _ in 1 }
        var (delivered, refused, requests): ([Int], [Int], Int) = ([], [], 0)
        while let part = plan.next() {
            requests += 1
            if poison.isDisjoint(with: part) {
                delivered += part
            } else if let element = plan.refused(part) {
                refused.append(element)
            }
        }
        return (delivered, refused, requests)
    }

    @Test("all in one request when nothing is refused; none when there is nothing")
    func whole() {
        #expect(run(100, poison: []) == (Array(0..<100), [], 1))
        #expect(run(0, poison: []) == ([], [], 0))
    }

    @Test("one poison element is found among 500 in at most 19 requests, the others are delivered in order")
    func one() {
        for poison in [0, 1, 249, 250, 499] {
            let result = run(500, poison: [poison])
            #expect(result.refused == [poison])
            #expect(result.delivered == Array(0..<500).filter { $0 != poison })
            #expect(result.requests <= 19)
        }
    }

    @Test("whatever is poison, it alone is refused, and each element is settled once")
    func property() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SplitMix64(seed: seed)
        for _ in 0..<200 {
            let count = Int.random(in: 1...60, using: &generator)
            let poison = Set((0..<count).filter { _ in Int.random(in: 0..<5, using: &generator) == 0 })
            let result = run(count, poison: poison)
            #expect(result.refused == poison.sorted(), "seed \(seed)")
            #expect(result.delivered == (0..<count).filter { !poison.contains($0) }, "seed \(seed)")
            #expect(result.requests <= 2 * count, "seed \(seed)")
        }
    }

    @Test("a request has no more bytes than allowed, and what is larger alone goes alone")
    func bytes() {
        var plan = RequestPlan([3, 4, 3, 1, 50, 9, 2], maximumBytes: 10) { $0 }
        var parts: [[Int]] = []
        while let part = plan.next() { parts.append(Array(part)) }
        #expect(parts == [[3, 4, 3], [1], [50], [9], [2]])
    }
}

@Suite("Rounds")
struct RoundsTests {
    @Test("in each round a key is once, and its elements keep their order")
    func order() {
        let (a, b, c) = (UUID(), UUID(), UUID())
        let elements = [(a, 1), (b, 1), (a, 2), (c, 1), (a, 3), (b, 2)]
        let rounds = Rounds.of(elements) { $0.0 }
        #expect(rounds.map { $0.map(\.1) } == [[1, 1, 1], [2, 2], [3]])
        #expect(rounds.map { $0.map(\.0) } == [[a, b, c], [a, b], [a]])
        #expect(Rounds.of([(UUID, Int)]()) { $0.0 }.isEmpty)
    }

    @Test("the key is the event or, where order is kept, its order")
    func keys() throws {
        let event = try Events.event()
        #expect(Ordering.none.key(of: event) == event.id)
        #expect(Ordering.key.key(of: event) == event.orderID)
    }
}

@Suite("What is under way", .timeLimit(.minutes(1)))
struct UnderWayTests {
    @Test("two that share a key follow each other, in order of arrival; others don't wait")
    func inFlight() async {
        let (a, b, c) = (UUID(), UUID(), UUID())
        let inFlight = InFlight()
        await inFlight.begin([a])
        let (order, continuation) = AsyncStream.makeStream(of: Int.self)
        let second = Task {
            await inFlight.begin([a, b])
            continuation.yield(2)
        }
        while inFlight.waiting < 1 { await Task.yield() }
        let third = Task {
            await inFlight.begin([b])
            continuation.yield(3)
        }
        while inFlight.waiting < 2 { await Task.yield() }
        // Nothing of it is taken.
        await inFlight.begin([c])
        continuation.yield(1)
        // Another end lets nobody pass who came later.
        inFlight.end([c])
        #expect(inFlight.waiting == 2)
        inFlight.end([a])
        await second.value
        inFlight.end([a, b])
        await third.value
        continuation.finish()
        let seen = await order.reduce(into: []) { $0.append($1) }
        #expect(seen == [1, 2, 3])
    }

    @Test("who waits for a slot goes on when one is given back, and when there is no limit any more")
    func slots() async {
        let slots = Slots()
        slots.take()
        await slots.wait { 2 }
        let waiter = Task { await slots.wait { 1 } }
        slots.giveBack()
        await waiter.value
        slots.take()
        let lifted = Task { await slots.wait { 1 } }
        slots.lift()
        await lifted.value
        await slots.wait { 0 }
    }
}
