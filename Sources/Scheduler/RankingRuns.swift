import Foundation
import Logging
import OpsMetrics
import OrderDomain
import OrderStore
import Postgres
import ServiceLifecycle

/// Tells the metrics of the ranking's runs, whose own processes end before anybody could scrape them: those that the
/// scheduler, cron or a person started.
///
/// What follows all the time tells of its runs itself, so that nobody counts a run twice.
struct RankingRuns: Service, CustomStringConvertible {
    private static let pause = Duration.seconds(2)
    /// How long after its commit a run may still be published; far more than a publication takes.
    private static let publicationLimit: TimeInterval = 30

    let pool: PostgresPool
    let metrics: RankingMetrics
    let logger: Logger

    var description: String { "ranking runs" }

    /// Looks every two seconds until the graceful shutdown; a database that is down is told by everybody else.
    func run() async throws {
        var last: Int64?
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            do {
                last = try await look(after: last, at: .now)
            } catch {
                logger.debug("runs of the ranking are not counted", metadata: ["error": "\(error)"])
            }
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.pause) }
        }
    }

    /// Counts what has ended since the run `last`, and returns the last one counted; throws `PostgresError`.
    ///
    /// The first look only finds where to begin: what was there before is no increase.
    func look(after last: Int64?, at now: Date) async throws -> Int64 {
        let recent = try await RankingStore.recent(
            after: last ?? .max,
            from: pool,
            deadline: .now + JobLoop.queryLimit
        )
        metrics.set(lastPublishedAt: recent.lastPublishedAt, mismatches: recent.mismatches)
        // Of a database that was made anew the numbers begin anew.
        guard let last, last <= recent.newest else { return recent.newest }
        // Not beyond one of which nobody knows yet whether it is published.
        let ended = recent.runs.prefix { run in
            run.publication != nil || run.finishedAt < now - Self.publicationLimit
        }
        for run in ended where run.trigger != .follow { metrics.count(run) }
        return ended.last?.version.run ?? last
    }
}

/// What is counted about the ranking's runs.
struct RankingMetrics: Sendable {
    private let runs: MetricFamily<Counter>
    private let duration: Histogram
    // Families without labels, which are not there while there is nothing to tell.
    private let lastSuccess: MetricFamily<Gauge>
    private let mismatches: MetricFamily<Gauge>

    init(_ registry: MetricsRegistry) {
        runs = registry.counter(
            "popular_aggregation_runs_total",
            help:
                "Runs of the ranking that were saved, by how they ended; those that were not are failed runs of a job.",
            labels: ["trigger", "result"]
        )
        duration = registry.histogram(
            "popular_aggregation_duration_seconds",
            help: "How long runs took, without their publication.",
            buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
        )
        lastSuccess = registry.gauge(
            "popular_aggregation_last_success_timestamp_seconds",
            help: "When a run was last published.",
            labels: []
        )
        mismatches = registry.gauge(
            "popular_aggregation_verify_mismatch",
            help: "How many values the last verification found wrong; not there before the first.",
            labels: []
        )
    }

    func count(_ run: AggregationRun) {
        let result =
            switch run.publication {
            case .published: "published"
            case .superseded: "superseded"
            case .failed, nil: "unpublished"
            }
        runs.with(run.trigger.rawValue, result).increment()
        duration.observe(run.finishedAt.timeIntervalSince(run.startedAt))
    }

    func set(lastPublishedAt: Date?, mismatches count: Int64?) {
        if let lastPublishedAt { lastSuccess.with().set(lastPublishedAt.timeIntervalSince1970) }
        if let count { mismatches.with().set(Double(count)) }
    }
}
