import EventTopology
import Foundation
import OrderMessages
import ServiceRuntime
import Testing

@testable import AMQP
@testable import Operations
@testable import OrderCtl

@Suite("The lag")
struct LagReadingTests {
    private static let told = """
        {"status":"warn","circuit":"half_open","stages":[{"stage":"outbox","messages":null,"oldestSeconds":null},
        {"stage":"ready","messages":1,"oldestSeconds":2.5},{"stage":"unacked","messages":4,"oldestSeconds":3},
        {"stage":"retry","messages":9,"oldestSeconds":130},{"stage":"dlq","messages":1,"oldestSeconds":90000}],
        "retryTiers":[{"tierMs":1000,"messages":6,"oldestSeconds":3.2}],"endToEnd":{"p50Ms":12.4,"p99Ms":2340,"windowSeconds":300,"samples":1203},
        "consumePerSecond":42,"drainEtaSeconds":75,"asOf":"2026-01-31T09:05:00.250Z"}
        """
    private static let depths: [String: Int] = [
        BrokerNames.forwardQueue: 12_000, BrokerNames.deadLetterQueue: 3, "dataplatform.retry.1000.v1": 2,
        "dataplatform.retry.1000.late.v1": 5, "dataplatform.retry.300000.v1": 1,
    ]

    private func reading(consumer: Result<ConsumerLag, ConsumerClient.Silent>) -> LagReading {
        var reading = LagReading(at: Date(timeIntervalSince1970: 1_769_850_300))
        reading.take(consumer)
        reading.take(outbox: .success(.init(waiting: .init(messages: 7, oldestSeconds: 0.4), parked: 2)))
        let depths = Self.depths.mapValues { QueueDepth(ready: $0, consumers: 0) }
        reading.take(queues: .success(ForwardingDepths(depths)))
        reading.judge()
        return reading
    }

    @Test("one screen says where how many wait for how long, the delays, the rate and the time to drain")
    func screen() throws {
        let lag = try JSONDecoder().decode(ConsumerLag.self, from: Data(Self.told.utf8))
        let lines = lines(of: reading(consumer: .success(lag)))
        #expect(lines[0] == "status warn circuit half_open as of 2026-01-31T09:05:00.000Z")
        #expect(
            lines[2...6] == [
                "STAGE MESSAGES OLDEST", "outbox 7 400 ms", "ready 12,000 2 s", "unacked 4 3 s", "retry 8 2 min 10 s",
            ]
        )
        for line in [
            "1 s 7 3 s", "5 min 1 unknown", "dead letters 3 1 d 1 h", "parked 2",
            "commit to platform p50 12 ms, p99 2 s of 1,203 in 5 min",
            "forwarded 42.0 a second", "drained in 1 min 15 s",
        ] { #expect(lines.contains(line), "\(line)") }
    }

    @Test(
        "more than can be counted is said to be more; while somebody goes through the dead letters, their number stays"
    )
    func uncounted() throws {
        var reading = LagReading(at: Date())
        reading.take(.success(try JSONDecoder().decode(ConsumerLag.self, from: Data(Self.told.utf8))))
        let waiting = LagReading.Waiting(messages: 80_000, isAtLeast: true, oldestSeconds: 61)
        reading.take(outbox: .success(.init(waiting: waiting, parked: 0)))
        let walked = [BrokerNames.deadLetterQueue: QueueDepth(ready: 0, consumers: 1)]
        reading.take(queues: .success(ForwardingDepths(walked)))
        let lines = lines(of: reading)
        #expect(lines.contains("outbox 80,000+ 1 min 1 s"))
        #expect(lines.contains("dead letters 1 1 d 1 h"))
    }

    /// Without the spaces that make columns line up.
    private func lines(of reading: LagReading) -> [String] {
        reading.text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.split(separator: " ").joined(separator: " ") }
    }

    @Test("without the consumer what is counted stays, and nothing is delivered")
    func withoutConsumer() throws {
        let silent = ConsumerClient.Silent(description: "the consumer cannot be reached at x", isThere: false)
        let reading = reading(consumer: .failure(silent))
        #expect(reading.status == "stop" && reading.failure == nil)
        let lines = lines(of: reading)
        #expect(lines.contains("! the consumer cannot be reached at x: no ages, no rate"))
        #expect(lines.contains("ready 12,000 unknown"))
        let json = try encoded(reading.json)
        #expect(json.contains(#"{"isAtLeast":false,"messages":12000,"oldestSeconds":null,"stage":"ready"}"#), "\(json)")
        var idle = LagReading(at: Date())
        idle.take(.failure(silent))
        idle.judge()
        #expect(idle.status == "warn")
    }

    @Test("a server that cannot be asked is an error, and what the others say is shown")
    func incomplete() {
        var reading = LagReading(at: Date())
        reading.take(queues: .failure(AMQPError(.connectFailed, "refused")))
        reading.take(outbox: .success(.init(waiting: .init(messages: 7, oldestSeconds: 0.4), parked: 2)))
        #expect(reading.failure?.description.contains("RabbitMQ cannot be asked") == true)
        #expect(lines(of: reading).contains("outbox 7 400 ms"))
        for line in ["drained unknown", "commit to platform unknown"] { #expect(lines(of: reading).contains(line)) }
    }
}
