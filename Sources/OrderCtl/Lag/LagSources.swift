import AMQP
import Foundation
import Operations
import OrderStore
import Postgres

/// Who knows how many events wait, and where.
struct LagSources {
    private static let timeout = Duration.seconds(3)
    /// Over which deliveries delays are measured when the consumer does not tell.
    private static let windowSeconds = 300.0

    let pool: PostgresPool
    let inspector: AMQPInspector
    let consumer: ConsumerClient

    /// Asks all of them at once.
    func read() async -> LagReading {
        async let outbox = outbox()
        async let queues = queues()
        async let told = consumer.reading()
        var reading = LagReading(at: Date())
        reading.take(await told)
        reading.take(outbox: await outbox)
        reading.take(queues: await queues)
        if reading.endToEnd == nil { reading.take(delays: await delays()) }
        reading.judge()
        return reading
    }

    func close() async {
        await inspector.close(deadline: .now + .seconds(1))
        await pool.close()
    }

    private func outbox() async -> Result<LagReading.Outbox, any Error> {
        do {
            let pending = try await pool.withConnection(deadline: .now + Self.timeout) { connection in
                try await OutboxStore.pending(on: connection, deadline: .now + Self.timeout)
            }
            let age = pending.oldest.map { max(0, Date().timeIntervalSince($0)) }
            let waiting = LagReading.Waiting(
                messages: Int(pending.count),
                isAtLeast: pending.isAtLeast,
                oldestSeconds: age
            )
            return .success(LagReading.Outbox(waiting: waiting, parked: Int(pending.parked)))
        } catch {
            return .failure(error)
        }
    }

    private func queues() async -> Result<ForwardingDepths, AMQPError> {
        do throws(AMQPError) {
            return .success(try await ForwardingDepths.read(inspector, deadline: .now + Self.timeout))
        } catch {
            return .failure(error)
        }
    }

    private func delays() async -> LagReading.EndToEnd? {
        let start = Date().addingTimeInterval(-Self.windowSeconds)
        let delays = try? await DeliveryTrail(pool).delays(since: start, deadline: .now + Self.timeout)
        return delays.map {
            LagReading.EndToEnd(
                p50Ms: $0.p50Ms,
                p99Ms: $0.p99Ms,
                windowSeconds: Self.windowSeconds,
                samples: Int($0.samples)
            )
        }
    }
}
