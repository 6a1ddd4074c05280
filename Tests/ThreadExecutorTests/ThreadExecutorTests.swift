import Glibc
import Synchronization
import Testing

@testable import ThreadExecutor

/// A pipe for a test to write into and a watcher to read from.
private struct Pipe {
    let reader: Int32
    let writer: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        precondition(unsafe pipe(&ends) == 0)
        (reader, writer) = (ends[0], ends[1])
    }

    func put() {
        var byte: UInt8 = 1
        unsafe _ = write(writer, &byte, 1)
    }

    func take() {
        var byte: UInt8 = 0
        unsafe _ = read(reader, &byte, 1)
    }

    func close() {
        Glibc.close(reader)
        Glibc.close(writer)
    }
}

private actor Counter {
    private nonisolated let executor = ThreadExecutor()
    private(set) var value = 0
    private var threads: Set<UInt> = []

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    deinit { executor.stop() }

    func increment() {
        threads.insert(UInt(pthread_self()))
        value += 1
    }

    func threadCount() -> Int { threads.count }

    func block(_ duration: Duration) {
        usleep(UInt32(duration.pollMilliseconds) * 1_000)
    }

    func watch(_ descriptor: Int32, tick: Duration, onEvent: @escaping @Sendable () -> Void) {
        executor.watch(descriptor, tick: tick, onEvent: onEvent)
    }

    func unwatch() { executor.unwatch() }

    nonisolated func incrementAssumingIsolation() {
        assumeIsolated { $0.value += 1 }
    }
}

@Suite("ThreadExecutor", .timeLimit(.minutes(1)))
struct ThreadExecutorTests {
    @Test("all jobs of an actor run, one at a time, on one thread")
    func oneThread() async {
        let counter = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<10_000 { group.addTask { await counter.increment() } }
        }
        #expect(await counter.value == 10_000)
        #expect(await counter.threadCount() == 1)
    }

    @Test("blocked executors do not block the cooperative pool")
    func blockingIsHarmless() async {
        let blocked = (0..<16).map { _ in Counter() }
        let free = Counter()
        await withTaskGroup(of: Void.self) { group in
            for counter in blocked { group.addTask { await counter.block(.milliseconds(500)) } }
            let start = ContinuousClock.now
            await free.increment()
            #expect(start.duration(to: .now) < .milliseconds(400))
        }
    }

    @Test("a readable descriptor calls its watcher on the thread, until it is unwatched")
    func watchesDescriptor() async throws {
        let counter = Counter()
        let pipe = Pipe()
        defer { pipe.close() }
        let (events, continuation) = AsyncStream<Void>.makeStream()
        await counter.watch(pipe.reader, tick: .seconds(3_600)) {
            pipe.take()
            counter.incrementAssumingIsolation()
            continuation.yield()
        }
        var iterator = events.makeAsyncIterator()
        for expected in 1...3 {
            pipe.put()
            await iterator.next()
            #expect(await counter.value == expected)
        }
        await counter.unwatch()
    }

    @Test("a tick calls the watcher without any event")
    func ticks() async {
        let counter = Counter()
        let pipe = Pipe()
        defer { pipe.close() }
        let (events, continuation) = AsyncStream<Void>.makeStream()
        await counter.watch(pipe.reader, tick: .milliseconds(5)) { continuation.yield() }
        var iterator = events.makeAsyncIterator()
        for _ in 0..<3 { await iterator.next() }
        await counter.unwatch()
    }

    @Test("the thread ends when its actor is released")
    func threadEnds() async throws {
        weak let released: ThreadExecutor? = {
            let executor = ThreadExecutor()
            executor.stop()
            return executor
        }()
        let deadline = ContinuousClock.now + .seconds(10)
        while released != nil, !deadline.isPast { await Task.yield() }
        #expect(released == nil)
    }

    @Test(
        "a duration becomes whole milliseconds, rounded up",
        arguments: [
            (Duration.zero, Int32(0)), (.nanoseconds(1), 1), (.milliseconds(1), 1), (.microseconds(1_500), 2),
            (.seconds(2), 2_000), (.seconds(-1), 0), (.seconds(1 << 40), Int32.max),
        ]
    )
    func pollMilliseconds(duration: Duration, expected: Int32) {
        #expect(duration.pollMilliseconds == expected)
    }
}
