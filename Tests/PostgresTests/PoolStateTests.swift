import Testing

@testable import Postgres

@Suite("PoolState")
struct PoolStateTests {
    private func isOpen(_ acquisition: PoolState<Int>.Acquisition) -> Bool {
        if case .granted(.open) = acquisition { true } else { false }
    }

    private func reused(_ acquisition: PoolState<Int>.Acquisition) -> Int? {
        if case .granted(.reuse(let connection)) = acquisition { connection } else { nil }
    }

    private func isQueued(_ acquisition: PoolState<Int>.Acquisition) -> Bool {
        if case .queued = acquisition { true } else { false }
    }

    /// A pool of one whose permit is out, with the waiters 1, 2, … in the queue.
    private func busyPool(waiters: PoolState<Int>.WaiterID) -> PoolState<Int> {
        var pool = PoolState<Int>(maximumConnections: 1, maximumWaiters: 3)
        _ = pool.acquire(0)
        for waiter in 0..<waiters { _ = pool.acquire(waiter + 1) }
        return pool
    }

    @Test("permits are bounded, waiters are bounded")
    func bounds() {
        var pool = PoolState<Int>(maximumConnections: 2, maximumWaiters: 1)
        #expect(isOpen(pool.acquire(1)))
        #expect(isOpen(pool.acquire(2)))
        #expect(isQueued(pool.acquire(3)))
        if case .refusedExhausted = pool.acquire(4) {} else { Issue.record("the fourth must be refused") }
        #expect(pool.leased == 2 && pool.waiterCount == 1)
    }

    @Test("a returned connection goes to the one who waits longest")
    func firstComeFirstServed() {
        var pool = busyPool(waiters: 3)
        var served: [PoolState<Int>.WaiterID] = []
        for _ in 0..<3 {
            let release = pool.release(7)
            guard let grant = release.grant, case .reuse(7) = grant.lease else { continue }
            served.append(grant.waiter)
        }
        #expect(served == [1, 2, 3])
        #expect(pool.release(7).grant == nil)
        #expect(pool.idle == [7] && pool.leased == 0)
    }

    @Test("an unusable connection becomes the permit to open another")
    func replaces() {
        var pool = busyPool(waiters: 1)
        let release = pool.release(nil)
        #expect(release.grant?.waiter == 1)
        if case .open? = release.grant?.lease {} else { Issue.record("the waiter must open a connection") }
        #expect(pool.release(nil).grant == nil)
        #expect(pool.idle.isEmpty && pool.leased == 0)
    }

    @Test("the connection used last is used next")
    func lastInFirstOut() {
        var pool = PoolState<Int>(maximumConnections: 2, maximumWaiters: 0)
        _ = pool.acquire(1)
        _ = pool.acquire(2)
        _ = pool.release(10)
        _ = pool.release(20)
        #expect(reused(pool.acquire(3)) == 20)
        #expect(reused(pool.acquire(4)) == 10)
    }

    @Test("a waiter who gave up is skipped, and its place is free again")
    func abandon() {
        var pool = busyPool(waiters: 3)
        let answers = [pool.abandon(1), pool.abandon(1), pool.abandon(2)]
        #expect(answers == [true, false, true])
        #expect(isQueued(pool.acquire(4)))
        #expect(pool.release(7).grant?.waiter == 3)
        let isLate = !pool.abandon(3)
        #expect(isLate)
        #expect(pool.release(7).grant?.waiter == 4)
    }

    @Test("closing refuses the waiters, and connections are closed as they come back")
    func close() {
        var pool = PoolState<Int>(maximumConnections: 2, maximumWaiters: 2)
        _ = pool.acquire(1)
        _ = pool.acquire(2)
        _ = pool.release(10)
        let idle = pool.close()
        #expect(idle.idle == [10] && idle.waiters.isEmpty)
        #expect(pool.release(20).close == 20)
        if case .refusedClosed = pool.acquire(3) {} else { Issue.record("a closed pool must refuse") }
        var busy = busyPool(waiters: 2)
        #expect(busy.close().waiters == [1, 2])
        #expect(busy.release(5).close == 5)
    }

    @Test("whatever the order of events, permits are neither lost nor made up")
    func randomEvents() {
        let seed = UInt64.random(in: .min ... .max)
        var random = seed
        func next(_ bound: UInt64) -> UInt64 {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (random >> 33) % bound
        }
        var pool = PoolState<Int>(maximumConnections: 3, maximumWaiters: 5)
        var holders = 0
        var waiting: [PoolState<Int>.WaiterID] = []
        for event in 0..<20_000 {
            switch next(3) {
            case 0:
                let waiter = PoolState<Int>.WaiterID(event)
                switch pool.acquire(waiter) {
                case .granted: holders += 1
                case .queued: waiting.append(waiter)
                default: #expect(waiting.count == 5, "seed \(seed)")
                }
            case 1 where holders > 0:
                if let grant = pool.release(next(2) == 0 ? event : nil).grant {
                    #expect(grant.waiter == waiting.removeFirst(), "seed \(seed)")
                } else {
                    holders -= 1
                }
            case 2 where !waiting.isEmpty:
                let wasWaiting = pool.abandon(waiting.remove(at: Int(next(UInt64(waiting.count)))))
                #expect(wasWaiting, "seed \(seed)")
            default: break
            }
            #expect(pool.leased == holders && holders <= 3 && pool.waiterCount == waiting.count, "seed \(seed)")
            #expect(pool.idle.count + holders <= 3, "seed \(seed)")
        }
    }
}
