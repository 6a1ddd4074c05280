import SeededRandom
import Testing

@testable import AMQP

@Suite("Acknowledging in few frames")
struct AcknowledgementWindowTests {
    private func window(delivered count: UInt64) -> AcknowledgementWindow {
        var window = AcknowledgementWindow()
        for tag in 1...count { window.deliver(tag) }
        return window
    }

    @Test("one acknowledgement covers what has nothing open before it; the rest waits or is told one by one")
    func covering() {
        var window = window(delivered: 6)
        var covered = [window.takeCovered()]
        for tag in [4, 3, 1] as [UInt64] { _ = window.finish(tag) }
        covered += [window.takeCovered(), window.takeCovered()]
        #expect(covered == [nil, 1, nil])
        #expect(window.hasRest)
        _ = window.settle(2)
        covered = [window.takeCovered()]
        #expect(!window.hasRest)
        _ = window.finish(6)
        let rest = window.takeRest()
        #expect(rest == [6])
        _ = window.finish(5)
        covered.append(window.takeCovered())
        #expect(covered == [4, 5])
        #expect(window.openCount == 0)
    }

    @Test("what is settled already, or was never delivered, is neither done nor given back")
    func stale() {
        var window = window(delivered: 2)
        let first = [window.finish(1), window.settle(2)]
        #expect(first == [true, true])
        let second = [1, 2, 3].flatMap { [window.finish($0), window.settle($0)] }
        #expect(!second.contains(true))
        window.removeAll()
        #expect(!window.hasRest)
        let (covered, rest) = (window.takeCovered(), window.takeRest())
        #expect(covered == nil)
        #expect(rest.isEmpty)
    }

    @Test("whatever is done in whatever order, each delivery is told exactly once, and no open one")
    func random() {
        let seed = SplitMix64.seed
        var generator = SplitMix64(seed: seed)
        var window = AcknowledgementWindow()
        var (told, open) = (Set<UInt64>(), [UInt64]())
        var (delivered, covered) = (UInt64(0), UInt64(0))
        func tell(_ tags: [UInt64]) {
            for tag in tags where open.contains(tag) || !told.insert(tag).inserted {
                Issue.record("told of \(tag), seed \(seed)")
            }
        }
        for _ in 0..<2_000 {
            switch generator.below(10) {
            case 0..<5:
                delivered += 1
                window.deliver(delivered)
                open.append(delivered)
            case 5..<9 where !open.isEmpty:
                let isOpen = window.finish(open.remove(at: generator.below(open.count)))
                #expect(isOpen, "seed \(seed)")
                guard let tag = window.takeCovered() else { continue }
                tell((covered + 1...tag).filter { !told.contains($0) })
                covered = tag
            default: tell(window.takeRest())
            }
        }
        tell(window.takeRest())
        #expect(window.openCount == open.count)
        #expect(told.count + open.count == Int(delivered), "seed \(seed)")
    }
}
