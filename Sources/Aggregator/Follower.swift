import Backoff
import Foundation
import Logging
import OpsMetrics
import OrderDomain
import OrderStore
import Postgres
import RankingBoard
import ServiceLifecycle

/// Runs whenever there is something to run for, until the graceful shutdown.
struct Follower: Service, CustomStringConvertible {
    /// How long a look at the database, or at Redis, may take.
    private static let lookLimit = Duration.seconds(3)

    let mode: RankingWindow.Mode
    let every: Duration
    let database: PostgresConfiguration
    let board: RankingBoard
    let metrics: AggregationMetrics
    let logger: Logger

    var description: String { "follower" }

    /// Looks at a fixed rate; after a failure the pauses grow. The run under way is finished before the end.
    func run() async throws {
        var backoff = Backoff(base: .milliseconds(200), cap: .seconds(5))
        var connection: PostgresConnection?
        var next = ContinuousClock.now
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            do {
                let session = try await usable(connection)
                connection = session
                try await look(on: session)
                backoff.reset()
                next = max(next + every, .now)
            } catch {
                logger.warning("run failed, another is tried", metadata: ["error": "\(error)"])
                metrics.count(.failed)
                await connection?.close()
                next = .now + backoff.next()
            }
            let pause = ContinuousClock.now.duration(to: next)
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: pause) }
        }
        await connection?.close()
    }

    private func usable(_ connection: PostgresConnection?) async throws -> PostgresConnection {
        if let connection, connection.isUsable { return connection }
        return try await PostgresConnection.connect(database, deadline: .now + Self.lookLimit)
    }

    private func look(on connection: PostgresConnection) async throws {
        let standing = try await RankingStore.standing(
            mode,
            at: .now,
            on: connection,
            deadline: .now + Self.lookLimit
        )
        metrics.setMismatches(standing.mismatches)
        if standing.isDue {
            try await run(on: connection)
        } else if let version = standing.version {
            try await republish(unlessStands: version, on: connection)
        }
    }

    private func run(on connection: PostgresConnection) async throws {
        let start = ContinuousClock.now
        let outcome: RankingStore.Outcome
        do {
            outcome = try await RankingStore.run(
                RankingStore.Request(mode: mode, trigger: .follow),
                on: connection,
                in: database,
                deadline: start + Aggregator.countLimit
            )
        } catch is RankingStore.AlreadyRunning {
            metrics.count(.busy)
            return
        }
        let result = await RankingPublisher(board: board).publish(outcome, on: connection)
        metrics.count(result, duration: .now - start)
        if result.publication == .superseded, let problem = result.problem { logger.warning("\(problem)") }
        logger.debug(
            "run ended",
            metadata: [
                "run": "\(outcome.run.version.run)", "rowsRead": "\(outcome.run.rowsRead)",
                "publication": "\(result.publication.rawValue)",
            ]
        )
    }

    /// Brings the last run to Redis where it is not: Redis was away or emptied, or a run ended before its publication.
    private func republish(unlessStands version: RankingVersion, on connection: PostgresConnection) async throws {
        // While Redis is away there is nothing to be done; its client has logged why.
        let current: RankingVersion?
        do { current = try await board.currentVersion(deadline: .now + Self.lookLimit) } catch { return }
        if let current, current >= version { return }
        guard
            let outcome = try await RankingStore.latest(on: connection, deadline: .now + Self.lookLimit)
        else { return }
        let start = ContinuousClock.now
        let result = await RankingPublisher(board: board).publish(outcome, on: connection)
        metrics.count(result, duration: .now - start)
        logger.info(
            "published again",
            metadata: ["run": "\(outcome.run.version.run)", "publication": "\(result.publication.rawValue)"]
        )
    }
}

/// What is counted about runs.
struct AggregationMetrics: Sendable {
    /// How a run ended, beside what became of its publication.
    enum Ending: String {
        /// It was rolled back.
        case failed
        /// Another one was going on.
        case busy
    }

    private let runs: MetricFamily<Counter>
    private let duration: Histogram
    private let lastSuccess: Gauge
    /// A family without labels, which is not there while there is nothing to tell.
    private let mismatches: MetricFamily<Gauge>

    init(_ registry: MetricsRegistry) {
        runs = registry.counter(
            "popular_aggregation_runs_total",
            help: "Runs of the ranking, by how they ended.",
            labels: ["trigger", "result"]
        )
        duration = registry.histogram(
            "popular_aggregation_duration_seconds",
            help: "How long runs took, with their publication.",
            buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
        )
        lastSuccess = registry.gauge(
            "popular_aggregation_last_success_timestamp_seconds",
            help: "When a run was last published."
        )
        mismatches = registry.gauge(
            "popular_aggregation_verify_mismatch",
            help: "How many values the last verification found wrong; not there before the first.",
            labels: []
        )
    }

    func count(_ ending: Ending) {
        runs.with(AggregationRun.Trigger.follow.rawValue, ending.rawValue).increment()
    }

    func count(_ result: RankingPublisher.Result, duration time: Duration) {
        let name =
            switch result.publication {
            case .published: "published"
            case .superseded: "superseded"
            case .failed: "unpublished"
            }
        runs.with(AggregationRun.Trigger.follow.rawValue, name).increment()
        duration.observe(time)
        if result.publication == .published { lastSuccess.set(Date().timeIntervalSince1970) }
    }

    func setMismatches(_ count: Int64?) {
        if let count { mismatches.with().set(Double(count)) }
    }
}
