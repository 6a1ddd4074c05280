import EventTopology
import Foundation
import NIOCore
import NIOEmbedded
import Operations
import Testing

@testable import AMQP
@testable import OrderAPI

/// How the console judges, and what it shows of a source that is silent.
@Suite("Console: readings")
struct ConsoleReadingTests {
    private static let now = Date(timeIntervalSince1970: 1_800_000_000)

    @Test("a source that falls silent takes its numbers with it, and says since when")
    func silence() throws {
        var reading = Reading<Int>()
        reading.take(7, at: Self.now)
        reading.fail("away")
        #expect(reading.value == nil && reading.asOf == Self.now && reading.problem == "away")
        let text = String(decoding: try JSONEncoder().encode(reading), as: UTF8.self)
        #expect(text.contains(#""value":null"#) && text.contains(#""problem":"away""#), "\(text)")
        reading.take(8, at: Self.now.addingTimeInterval(1))
        #expect(reading.value == 8 && reading.problem == nil)
    }

    @Test("an open circuit stops, a silent consumer is unknown, and a dead letter warns")
    func words() throws {
        #expect(ConsoleStatus(try snapshot()).word == .ok)
        #expect(ConsoleStatus(try snapshot()).reasons == [])
        let open = ConsoleStatus(try snapshot(status: "stall", circuit: "open", deadLetters: 2))
        #expect(open.word == .stop && open.reasons.count == 2 && open.reasons[0].contains("circuit is open"))
        #expect(open.reasons[1] == "2 dead letters wait for you.")
        #expect(ConsoleStatus(try snapshot(circuit: "half_open")).word == .stall)
        #expect(ConsoleStatus(try snapshot(status: "stop")).word == .stop)
        #expect(ConsoleStatus(try snapshot(status: "warn")).word == .warn)
        #expect(ConsoleStatus(try snapshot(p99Ms: 5_000)).word == .ok)
        #expect(ConsoleStatus(try snapshot(p99Ms: 5_001)).word == .warn)

        var silent = try snapshot()
        silent.consumer.fail("it cannot be reached")
        #expect(ConsoleStatus(silent).word == .unknown)
        silent.queues.fail("away")
        silent.outbox.take(.init(pending: 3, oldestSeconds: 6, parked: 0), at: Self.now)
        #expect(ConsoleStatus(silent).word == .stall, "the worst counts")

        var failing = try snapshot()
        failing.orders.failedPerSecond = 0.2
        #expect(ConsoleStatus(failing).word == .warn)
    }

    @Test("without PostgreSQL no order can be taken, without RabbitMQ delivery stalls, and both are no guess")
    func serversAway() throws {
        var broker = try snapshot(deadLetters: 1)
        broker.queues.fail("connection refused")
        let stalled = ConsoleStatus(broker)
        #expect(stalled.word == .stall)
        #expect(stalled.reasons == ["Events wait in the outbox: RabbitMQ cannot be asked: connection refused."])

        var database = broker
        database.outbox.fail("timed out")
        database.consumer.fail("it cannot be reached")
        let stopped = ConsoleStatus(database)
        #expect(stopped.word == .stop && stopped.reasons.count == 3)
        #expect(stopped.reasons[0] == "No order can be taken: PostgreSQL cannot be asked: timed out.")

        // Who has answered, but not lately, is known to be neither.
        database.outbox.take(.init(pending: 0, oldestSeconds: 0, parked: 0), at: Self.now)
        database.queues.take(.init(ForwardingDepths([:]), before: nil), at: Self.now)
        database.expire(at: Self.now.addingTimeInterval(7))
        #expect(ConsoleStatus(database).word == .unknown)
    }

    @Test("before the first answers nobody knows how it stands, nor once an answer is old")
    func unknown() throws {
        var fresh = ConsoleSnapshot()
        #expect(ConsoleStatus(fresh).word == .unknown && ConsoleStatus(fresh).reasons.count == 3)
        #expect(ConsoleStatus(fresh).reasons[0] == "The consumer has not been asked yet.")
        fresh.consumer = try snapshot().consumer
        fresh.outbox = try snapshot().outbox
        #expect(ConsoleStatus(fresh).word == .unknown, "RabbitMQ is not asked yet")

        var old = try snapshot()
        old.jobs.take([], at: Self.now)
        old.expire(at: Self.now.addingTimeInterval(6))
        #expect(ConsoleStatus(old).word == .ok)
        old.expire(at: Self.now.addingTimeInterval(6.1))
        #expect(ConsoleStatus(old).word == .unknown && ConsoleStatus(old).reasons.count == 3)
        #expect(old.queues.value == nil && old.queues.asOf == Self.now && old.jobs.value != nil)
        old.expire(at: Self.now.addingTimeInterval(10.1))
        #expect(old.jobs.value == nil)
    }

    @Test(
        "without the forward or the dead-letter queue nothing can be delivered",
        arguments: [BrokerNames.forwardQueue, BrokerNames.deadLetterQueue]
    )
    func missingQueue(name: String) throws {
        var snapshot = try snapshot()
        let depths = [name: QueueDepth(ready: 0, consumers: 1)]
        snapshot.queues.take(.init(ForwardingDepths(depths), before: nil), at: Self.now)
        #expect(ConsoleStatus(snapshot).word == .stop && ConsoleStatus(snapshot).reasons.count == 1)
    }

    @Test("rates are of the last seconds alone")
    func rates() {
        var rates = OrderRates()
        let start = ContinuousClock.now
        var counts = CommitCounts(accepted: 1_000, refused: 0, failed: 0, batches: 10, commands: 1_000)
        #expect(rates.add(counts, at: start) == OrderRates.Rates())
        for second in 1...20 {
            counts.accepted += second <= 10 ? 100 : 20
            counts.batches += 10
            counts.commands += 40
            let found = rates.add(counts, at: start + .seconds(second))
            #expect(found.batchSize == 4)
            if second == 10 { #expect(found.acceptedPerSecond == 100) }
            if second >= 15 { #expect(found.acceptedPerSecond == 20, "after \(second) s") }
        }
        #expect(rates.add(counts, at: start + .seconds(40)).batchSize == nil)
    }

    @Test("the jobs' next runs are read from the scheduler's metrics")
    func nextRuns() {
        let page = """
            # TYPE scheduler_job_next_run_timestamp_seconds gauge
            scheduler_job_next_run_timestamp_seconds{job="audit"} 1800000000
            scheduler_job_next_run_timestamp_seconds{job="clean"} 1.8e9
            scheduler_job_next_run_timestamp_seconds{job="odd"} never
            scheduler_job_runs_total{job="audit",result="ok"} 3
            """
        #expect(SchedulerClient.nextRuns(in: page) == ["audit": Self.now, "clean": Self.now])
    }

    // MARK: Viewers

    @Test("there are at most so many viewers, and who leaves makes room")
    func viewersAreBounded() throws {
        let viewers = ConsoleViewers()
        let all = (0..<ConsoleViewers.maximum).compactMap { _ in viewers.join(on: EmbeddedChannel()) }
        #expect(all.count == ConsoleViewers.maximum && viewers.count == ConsoleViewers.maximum)
        #expect(viewers.join(on: EmbeddedChannel()) == nil)
        viewers.leave(all[3].id)
        #expect(viewers.join(on: EmbeddedChannel()) != nil)
    }

    @Test("who cannot keep up gets the newest, and who does not read at all is cut off; the others go on")
    func slowViewersAreCutOff() async throws {
        let viewers = ConsoleViewers()
        let channel = EmbeddedChannel()
        let slow = try #require(viewers.join(on: channel))
        let fast = try #require(viewers.join(on: EmbeddedChannel()))
        var reading = fast.messages.makeAsyncIterator()
        var sent = 0
        while viewers.count == 2, sent < 100 {
            sent += 1
            viewers.send(ByteBuffer(integer: sent))
            #expect(await reading.next() == ByteBuffer(integer: sent))
        }
        #expect(sent < 30 && viewers.count == 1)
        #expect(!channel.isActive)
        var left: [ByteBuffer] = []
        for await message in slow.messages { left.append(message) }
        #expect(left == [ByteBuffer(integer: sent - 1), ByteBuffer(integer: sent)])
    }

    // MARK: Helpers

    private func snapshot(
        status: String = "ok",
        circuit: String = "closed",
        p99Ms: Double = 40,
        deadLetters: Int = 0
    ) throws -> ConsoleSnapshot {
        let lag = """
            {"status":"\(status)","circuit":"\(circuit)","stages":[{"stage":"unacked","messages":0}],
             "endToEnd":{"p50Ms":9,"p99Ms":\(p99Ms),"windowSeconds":300,"samples":10},"consumePerSecond":4}
            """
        var snapshot = ConsoleSnapshot()
        snapshot.consumer.take(.init(try JSONDecoder().decode(ConsumerLag.self, from: Data(lag.utf8))), at: Self.now)
        snapshot.outbox.take(.init(pending: 0, oldestSeconds: 0, parked: 0), at: Self.now)
        let depths = [
            BrokerNames.forwardQueue: QueueDepth(ready: 0, consumers: 1),
            BrokerNames.deadLetterQueue: QueueDepth(ready: deadLetters, consumers: 0),
        ]
        snapshot.queues.take(.init(ForwardingDepths(depths), before: nil), at: Self.now)
        return snapshot
    }
}
