import Foundation
import Logging
import OpsMetrics
import OrderStore
import Postgres
import ServiceLifecycle

/// Tells how the whole outbox stands, and empties the slots that everybody is done with.
///
/// Beside the relay and on other connections, so that whatever keeps one from its work never keeps the other. Each
/// order-api does both; who comes second finds nothing to empty.
struct OutboxUpkeep: Service {
    /// How often the gauges are brought up to date.
    static let gaugeInterval = Duration.seconds(1)
    /// How often it is looked whether a slot of the outbox can be emptied.
    static let rotationInterval = Duration.seconds(60)
    private static let timeout = Duration.seconds(5)

    let pool: PostgresPool
    let metrics: RelayMetrics
    let logger: Logger

    /// Goes on until the shutdown; while the database is away the gauges keep their last values.
    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    await repeatedly(every: Self.gaugeInterval, "measure the outbox") { try await measure() }
                }
                group.addTask {
                    await repeatedly(every: Self.rotationInterval, "rotate the outbox") { try await rotate() }
                }
            }
        }
    }

    private func repeatedly(every interval: Duration, _ what: String, _ body: () async throws -> Void) async {
        var hasFailed = false
        while !Task.isCancelled {
            do {
                try await body()
                hasFailed = false
            } catch  where !Task.isCancelled {
                // Once until it works again.
                logger.log(level: hasFailed ? .debug : .warning, "cannot \(what)", metadata: ["error": "\(error)"])
                hasFailed = true
            } catch {}
            try? await Task.sleep(for: interval)
        }
    }

    private func measure() async throws {
        let pending = try await pool.withConnection(deadline: .now + Self.timeout) { connection in
            try await OutboxStore.pending(on: connection, deadline: .now + Self.timeout)
        }
        metrics.pending.set(Double(pending.count))
        metrics.parked.set(Double(pending.parked))
        metrics.oldestPendingAge.set(pending.oldest.map { max(0, Date().timeIntervalSince($0)) } ?? 0)
    }

    private func rotate() async throws {
        let slot = try await pool.withConnection(deadline: .now + Self.timeout) { connection in
            try await OutboxStore.rotate(at: Date(), on: connection, deadline: .now + Self.timeout)
        }
        guard let slot else { return }
        metrics.countRotation()
        logger.info("emptied a slot of the outbox", metadata: ["slot": "\(slot)"])
    }
}
