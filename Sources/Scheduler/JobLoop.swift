import Foundation
import Logging
import OpsMetrics
import OrderStore
import ServiceLifecycle

/// What is counted about jobs.
struct JobMetrics: Sendable {
    private let runs: MetricFamily<Counter>
    private let nextRun: MetricFamily<Gauge>

    init(_ registry: MetricsRegistry) {
        runs = registry.counter(
            "scheduler_job_runs_total",
            help: "Runs of jobs that this process started, by how they ended.",
            labels: ["job", "result"]
        )
        nextRun = registry.gauge(
            "scheduler_job_next_run_timestamp_seconds",
            help: "When a job runs next.",
            labels: ["job"]
        )
    }

    func count(_ job: Job, _ result: JobRunStore.Result) {
        runs.with(job.name, result.rawValue).increment()
    }

    func setNext(_ job: Job, _ time: Date) {
        nextRun.with(job.name).set(time.timeIntervalSince1970)
    }
}

/// Runs all jobs at their times until the graceful shutdown.
struct JobService: Service, CustomStringConvertible {
    let loops: [JobLoop]

    var description: String { "jobs" }

    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            for loop in loops {
                group.addTask { await loop.run() }
            }
        }
    }
}

/// Runs one job at its times, one run after the other.
///
/// Times that pass while a run is going, or while the scheduler is down, are left out. A time that passes while the
/// machine sleeps is made up for once. Whoever claims a time in the database first runs it, so that several schedulers
/// may have the same schedule; when the database cannot be reached the claim is tried again until the next time.
struct JobLoop: Sendable {
    /// How often the clock is read at least, since it may be set while a task sleeps.
    private static let longestSleep = 30.0
    private static let retryPause = Duration.seconds(1)
    private static let queryLimit = Duration.seconds(2)

    let job: Job
    let store: JobRunStore
    /// Where commands without a path are.
    let executables: String
    let metrics: JobMetrics
    let logger: Logger

    /// Returns at the graceful shutdown, when a run that was going has ended; or when it is cancelled.
    func run() async {
        while let time = await nextTime() {
            guard await claim(time) else { continue }
            let start = ContinuousClock.now
            let outcome = await Child(job.command, in: executables, timeout: job.timeout).run()
            metrics.count(job, outcome.result)
            log(outcome, time, duration: .now - start)
            await finish(time, outcome)
        }
    }

    private var isStopping: Bool { Task.isCancelled || Task.isShuttingDownGracefully }

    /// Sleeps until the next time and returns it; nil when it is time to stop.
    private func nextTime() async -> Date? {
        guard var due = job.next(after: .now) else { return await waitForShutdown() }
        while !isStopping {
            let now = Date.now
            // The clock may have been set back.
            if let earlier = job.next(after: now), earlier < due { due = earlier }
            metrics.setNext(job, due)
            let wait = due.timeIntervalSince(now)
            if wait <= 0 { return due }
            await pause(.seconds(min(wait, Self.longestSleep)))
        }
        return nil
    }

    /// No time is left before the calendar ends.
    private func waitForShutdown() async -> Date? {
        try? await gracefulShutdown()
        return nil
    }

    private func claim(_ time: Date) async -> Bool {
        let isClaimed = await persistently("claim", until: job.next(after: time)) {
            try await store.claim(job.name, scheduledFor: time, at: .now, deadline: .now + Self.queryLimit)
        }
        if isClaimed == false {
            logger.debug(
                "run is another scheduler's",
                metadata: ["job": "\(job.name)", "scheduledFor": "\(text(time))"]
            )
        }
        return isClaimed ?? false
    }

    private func finish(_ time: Date, _ outcome: Child.Outcome) async {
        await persistently("finish", until: job.next(after: .now)) {
            try await store.finish(
                job.name,
                scheduledFor: time,
                at: .now,
                result: outcome.result,
                exitCode: outcome.exitCode,
                detail: outcome.detail.isEmpty ? nil : outcome.detail,
                deadline: .now + Self.queryLimit
            )
        }
    }

    /// Tries until it succeeds, the time is up, or it is time to stop; nil when it never succeeded.
    @discardableResult
    private func persistently<Value: Sendable>(
        _ what: String,
        until limit: Date?,
        _ body: () async throws -> Value
    ) async -> Value? {
        while true {
            do {
                return try await body()
            } catch {
                let isLast = isStopping || Date.now >= limit ?? .distantPast
                logger.warning(
                    "database failed",
                    metadata: [
                        "job": "\(job.name)", "operation": "\(what)", "error": "\(error)", "givesUp": "\(isLast)",
                    ]
                )
                if isLast { return nil }
            }
            await pause(Self.retryPause)
        }
    }

    /// Sleeps; no longer than until the graceful shutdown.
    private func pause(_ duration: Duration) async {
        try? await cancelWhenGracefulShutdown { try await Task.sleep(for: duration) }
    }

    private func log(_ outcome: Child.Outcome, _ time: Date, duration: Duration) {
        logger.log(
            level: outcome.result == .ok ? .info : .error,
            "job ended",
            metadata: [
                "job": "\(job.name)",
                "scheduledFor": "\(text(time))",
                "result": "\(outcome.result.rawValue)",
                "exitCode": "\(outcome.exitCode.map(String.init) ?? "none")",
                "durationMs": "\(Int(duration / .milliseconds(1)))",
                "detail": "\(outcome.detail)",
            ]
        )
    }

    private func text(_ time: Date) -> String {
        time.formatted(Date.ISO8601FormatStyle())
    }
}
