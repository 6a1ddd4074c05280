import SeededRandom
import Testing

@testable import AMQP

@Suite("Acknowledging in few frames")
struct AcknowledgementWindowTests {
    @Test("one acknowledgement covers what has nothing open before it; the rest waits or is told one by one")
    func covering() {
        var window = AcknowledgementWindow()
        for tag in 1...6 { window.deliver(UInt64(tag)) }
        #expect(window.takeCovered() == nil)
        for tag in [4, 3, 1] as [UInt64] { #expect(window.finish(tag)) }
        #expect(window.takeCovered() == 1)
        #expect(window.takeCovered() == nil)
        #expect(window.hasRest)
        #expect(window.settle(2))
        #expect(window.takeCovered() == 4)
        #expect(!window.hasRest)
        #expect(window.finish(6))
        #expect(window.takeRest() == [6])
        #expect(window.finish(5))
        #expect(window.takeCovered() == 5)
        #expect(window.openCount == 0)
    }

    @Test("what is settled already, or was never delivered, is neither done nor given back")
    func stale() {
        var window = AcknowledgementWindow()
        window.deliver(1)
        window.deliver(2)
        #expect(window.finish(1))
        #expect(window.settle(2))
        for tag in [1, 2, 3] as [UInt64] { #expect(!window.finish(tag) && !window.settle(tag)) }
        window.removeAll()
        #expect(!window.hasRest && window.takeCovered() == nil && window.takeRest().isEmpty)
    }

    @Test("whatever is done in whatever order, each delivery is told exactly once, and no open one")
    func random() {
        let seed = SplitMix64.seed
        var generator = SplitMix64(seed: seed)
        var window = AcknowledgementWindow()
        var (told, open, next) = (Set<UInt64>(), Set<UInt64>(), UInt64(1))
        func tell(_ tags: some Sequence<UInt64>) {
            for tag in tags {
                #expect(!open.contains(tag) && told.insert(tag).inserted, "\(tag), seed \(seed)")
            }
        }
        var known: UInt64 = 0
        for _ in 0..<2_000 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<5:
                window.deliver(next)
                open.insert(next)
                next += 1
            case 5..<9:
                guard let tag = open.randomElement(using: &generator) else { continue }
                open.remove(tag)
                #expect(window.finish(tag))
                if let covered = window.takeCovered() {
                    tell((known + 1...covered).filter { !told.contains($0) })
                    known = covered
                }
            default: tell(window.takeRest())
            }
        }
        #expect(window.openCount == open.count)
        #expect(told.count + open.count + (window.hasRest ? window.takeRest().count : 0) == Int(next - 1))
    }
}
