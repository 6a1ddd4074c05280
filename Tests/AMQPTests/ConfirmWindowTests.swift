import SeededRandom
import Testing

@testable import AMQP

/// A window with messages 1...n sent, each with its number as message id.
private func window(sent count: Int) -> ConfirmWindow {
    var window = ConfirmWindow()
    for index in 0..<count {
        window.sent(.init(batch: 7, index: index), identity: identity(index + 1), at: .now)
    }
    return window
}

private func identity(_ number: Int) -> ConfirmWindow.Identity {
    .init(exchange: "e", routingKey: "k", messageID: "\(number)")
}

private func indexes(_ settlements: [ConfirmWindow.Settlement]) -> [Int] {
    settlements.map(\.ticket.index)
}

@Suite("Window of unconfirmed messages")
struct ConfirmWindowTests {
    @Test("An answer for one message settles that one")
    func single() {
        var window = window(sent: 3)
        let first = ConfirmWindow.Settlement(ticket: .init(batch: 7, index: 0), outcome: .confirmed)
        #expect(window.acknowledged(1, multiple: false) == [first])
        #expect(window.count == 2)
        #expect(window.refused(2, multiple: false).map(\.outcome) == [.nacked])
        #expect(window.acknowledged(3, multiple: false).map(\.outcome) == [.confirmed])
        #expect(window.count == 0)
    }

    @Test("Answers may come out of order, and each counts once")
    func outOfOrder() {
        var window = window(sent: 4)
        #expect(indexes(window.acknowledged(3, multiple: false)) == [2])
        #expect(window.count == 4)
        #expect(window.acknowledged(3, multiple: false).isEmpty)
        #expect(indexes(window.acknowledged(4, multiple: true)) == [0, 1, 3])
        #expect(window.count == 0)
    }

    @Test("An answer for several settles all up to that number")
    func multiple() {
        var window = window(sent: 5)
        #expect(indexes(window.acknowledged(2, multiple: true)) == [0, 1])
        #expect(indexes(window.refused(4, multiple: true)) == [2, 3])
        #expect(window.count == 1)
        #expect(indexes(window.acknowledged(0, multiple: true)) == [4])
    }

    @Test("Numbers go on after settled messages", arguments: [1, 7, 100])
    func numbering(rounds: Int) {
        var window = ConfirmWindow()
        for round in 1...rounds {
            window.sent(.init(batch: 1, index: round), identity: identity(round), at: .now)
            #expect(indexes(window.acknowledged(UInt64(round), multiple: false)) == [round])
        }
        #expect(window.count == 0)
    }

    @Test("Numbers that were never given out settle nothing", arguments: [0, 4, 1_000, UInt64.max])
    func unknown(tag: UInt64) {
        var window = window(sent: 3)
        #expect(window.acknowledged(tag, multiple: false).isEmpty)
        #expect(tag == 0 || window.acknowledged(tag, multiple: true).isEmpty)
        #expect(window.count == 3)
    }

    @Test("A returned message is settled as returned by the answer that follows")
    func returned() {
        var window = window(sent: 3)
        window.returned(identity(2), code: 312, reason: "NO_ROUTE")
        let outcomes = window.acknowledged(3, multiple: true).map(\.outcome)
        #expect(outcomes == [.confirmed, .returned(code: 312, reason: "NO_ROUTE"), .confirmed])
    }

    @Test("Of messages that look alike the earliest is the returned one")
    func returnedTwins() {
        var window = ConfirmWindow()
        let twin = ConfirmWindow.Identity(exchange: "e", routingKey: "k", messageID: nil)
        for index in 0..<3 { window.sent(.init(batch: 1, index: index), identity: twin, at: .now) }
        window.returned(twin, code: 312, reason: "a")
        window.returned(twin, code: 312, reason: "b")
        let outcomes = window.acknowledged(3, multiple: true).map(\.outcome)
        #expect(outcomes == [.returned(code: 312, reason: "a"), .returned(code: 312, reason: "b"), .confirmed])
    }

    @Test("A return of a message that is not waiting changes nothing")
    func returnedUnknown() {
        var window = window(sent: 1)
        window.returned(identity(9), code: 312, reason: "NO_ROUTE")
        #expect(window.acknowledged(1, multiple: false).map(\.outcome) == [.confirmed])
    }

    @Test("A lost connection settles what waits, keeps returns, and numbering starts again")
    func lost() {
        var window = window(sent: 4)
        _ = window.acknowledged(2, multiple: false)
        window.returned(identity(3), code: 312, reason: "NO_ROUTE")
        let lost = window.connectionLost()
        #expect(indexes(lost) == [0, 2, 3])
        #expect(lost.map(\.outcome) == [.connectionLost, .returned(code: 312, reason: "NO_ROUTE"), .connectionLost])
        #expect(window.count == 0)
        #expect(window.oldest == nil)
        window.sent(.init(batch: 8, index: 0), identity: identity(1), at: .now)
        #expect(window.acknowledged(1, multiple: false).map(\.ticket.batch) == [8])
    }

    @Test("Random answers settle every message exactly once", arguments: 0..<50)
    func random(seed: Int) {
        var generator = SplitMix64(seed: UInt64(seed))
        var window = window(sent: 200)
        var settled: [Int] = []
        while window.count > 0 {
            let tag = UInt64.random(in: 1...200, using: &generator)
            let multiple = Int.random(in: 0..<8, using: &generator) == 0
            if Bool.random(using: &generator) {
                settled += indexes(window.acknowledged(tag, multiple: multiple))
            } else {
                settled += indexes(window.refused(tag, multiple: multiple))
            }
        }
        #expect(settled.sorted() == Array(0..<200), "seed \(seed)")
    }
}
