import Foundation
import Logging
import OpsMetrics
import OrderStore
import ServiceLifecycle

/// Tells the metrics how jobs have fared, as the database has it: the same from every scheduler, and still known by one
/// that was started anew, of whose predecessor all counters are gone.
struct JobRecords: Service, CustomStringConvertible {
    private static let pause = Duration.seconds(2)

    let jobs: [String]
    let store: JobRunStore
    let metrics: JobRecordMetrics
    let logger: Logger

    var description: String { "job records" }

    /// Looks every two seconds until the graceful shutdown; a database that is down is told by everybody else.
    func run() async throws {
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            do {
                try await look(at: .now)
            } catch {
                logger.debug("records of jobs are not told", metadata: ["error": "\(error)"])
            }
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.pause) }
        }
    }

    /// Throws `PostgresError`; what was told before stays.
    func look(at now: Date) async throws {
        for record in try await store.records(of: jobs, at: now, deadline: .now + JobLoop.queryLimit) {
            metrics.set(record)
        }
    }
}

/// What is told of jobs' last runs; nothing of a job before there is something to tell.
struct JobRecordMetrics: Sendable {
    private let hasSucceeded: MetricFamily<Gauge>
    private let succeededAt: MetricFamily<Gauge>
    private let missedAt: MetricFamily<Gauge>

    init(_ registry: MetricsRegistry) {
        hasSucceeded = registry.gauge(
            "scheduler_job_last_run_success",
            help: "1 when the last run of a job that has ended succeeded, 0 when it did not.",
            labels: ["job"]
        )
        succeededAt = registry.gauge(
            "scheduler_job_last_success_timestamp_seconds",
            help: "When the last run of a job that succeeded ended.",
            labels: ["job"]
        )
        missedAt = registry.gauge(
            "scheduler_job_last_missed_timestamp_seconds",
            help: "When it was last noted, within a day, that times of a job had been missed.",
            labels: ["job"]
        )
    }

    func set(_ record: JobRunStore.Record) {
        if let value = record.hasSucceeded { hasSucceeded.with(record.job).set(value ? 1 : 0) }
        if let time = record.succeededAt { succeededAt.with(record.job).set(time.timeIntervalSince1970) }
        if let time = record.missedAt { missedAt.with(record.job).set(time.timeIntervalSince1970) }
    }
}
