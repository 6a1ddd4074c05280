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
            help: "Times of jobs that this process settled, by what became of them.",
            labels: ["job", "result"]
        )
        nextRun = registry.gauge(
            "scheduler_job_next_run_timestamp_seconds",
            help: "When a job starts next.",
            labels: ["job"]
        )
    }

    func count(_ job: String, _ result: JobRunStore.Result, times: Int = 1) {
        runs.with(job, result.rawValue).increment(by: Double(times))
    }

    func setNext(_ job: Job, _ time: Date) {
        nextRun.with(job.name).set(time.timeIntervalSince1970)
    }
}

/// Runs all jobs at their times until the graceful shutdown.
struct JobService: Service, CustomStringConvertible {
    let loops: [JobLoop]
    let lostRuns: LostRuns

    var description: String { "jobs" }

    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            for loop in loops {
                group.addTask { await loop.run() }
            }
            group.addTask { await lostRuns.run() }
        }
    }
}

/// How often things are done that a scheduler does for as long as it lives.
struct Pace: Sendable {
    /// How often the clock is read at least, since it may be set while a task sleeps.
    var longestSleep = Duration.seconds(30)
    /// How long to wait before something is tried again.
    var retryPause = Duration.seconds(1)
    var heartbeat = Duration.seconds(5)
    /// After how long without a heartbeat a run is lost.
    var lease = Duration.seconds(30)
    /// How long a claim is tried whose answer was lost.
    var claimLimit = Duration.seconds(10)
}

/// Marks the runs as lost whose schedulers are not heard of any more, counts them and tells of them.
///
/// Nothing else marks them: so each is counted once, by the scheduler that finds it, whatever job it is of.
struct LostRuns: Sendable {
    let store: JobRunStore
    let metrics: JobMetrics
    let logger: Logger
    var pace = Pace()

    /// Looks as often as heartbeats come, until the graceful shutdown.
    func run() async {
        while !Task.isCancelled && !Task.isShuttingDownGracefully {
            // When the database is down the jobs themselves say so.
            try? await find()
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: pace.heartbeat) }
        }
    }

    /// Looks once; throws `PostgresError`.
    func find() async throws {
        for run in try await store.expire(lease: pace.lease, deadline: .now + JobLoop.queryLimit) {
            metrics.count(run.job, .lost)
            logger.error(
                "run lost",
                metadata: ["job": "\(run.job)", "scheduledFor": "\(utcTime(run.scheduledFor))"]
            )
        }
    }
}

/// Runs one job at its times, one run after the other.
///
/// What has become of which time stands in the database alone, so that several schedulers may have the same schedule,
/// and one that was down, or could not reach the database, goes on where the last one stopped.
struct JobLoop: Sendable {
    static let queryLimit = Duration.seconds(2)
    /// Of the failures of the database in a row one in so many is logged.
    private static let loggedFailures = 30

    let job: Job
    /// The process as the claims of its runs name it.
    let owner: UUID
    let store: JobRunStore
    let lostRuns: LostRuns
    /// Nil without Redis.
    let lock: JobLock?
    /// Where commands without a path are.
    let executables: String
    /// What the processes get, beside the variables of their run.
    let environment: [String: String]
    let metrics: JobMetrics
    let logger: Logger
    /// A job that the database knows nothing of has missed no time before this.
    let createdAt: Date
    var pace = Pace()
    var now: @Sendable () -> Date = { Date.now }

    /// Returns at the graceful shutdown, when a run that was going has ended; or when it is cancelled.
    func run() async {
        var going: Task<Void, Never>?
        while let progress = await progress() {
            let settled = progress.latest ?? createdAt
            if progress.hasQueued, let queued = await startQueued() {
                going = await begin(queued.scheduledFor, fence: queued.fence, hold: nil, after: going)
                continue
            }
            switch job.due(after: settled, at: now()) {
            case .never: try? await gracefulShutdown()
            case .later(let time): await sleep(until: time, isQueued: progress.hasQueued)
            case .missed(let last, let count):
                let reason =
                    count == 1 ? "no scheduler could start it in time" : "no scheduler could start them in time"
                await pass(last, .missed, missed: count - 1, reason: reason)
            case .run(let time, let missed): going = await claim(time, missed: missed, after: going)
            }
        }
        await withTaskCancellationHandler {
            await going?.value
        } onCancel: { [going] in
            going?.cancel()
        }
    }

    private var isStopping: Bool { Task.isCancelled || Task.isShuttingDownGracefully }

    // MARK: - Times

    /// Nil when it is time to stop.
    private func progress() async -> JobRunStore.Progress? {
        guard !isStopping else { return nil }
        return await persistently("look up") {
            try await store.progress(of: job.name, at: now(), deadline: .now + Self.queryLimit)
        }
    }

    /// Sleeps until the time has come, looking at the clock now and then; or until it is worth while to look whether
    /// the run that waits can start.
    private func sleep(until time: Date, isQueued: Bool) async {
        while !isStopping {
            metrics.setNext(job, time)
            let wait = Duration.seconds(time.timeIntervalSince(now()))
            if wait <= .zero { return }
            await pause(min(wait, isQueued ? pace.retryPause : pace.longestSleep))
            if isQueued { return }
        }
    }

    // MARK: - Claims

    private func claim(_ time: Date, missed: Int, after going: Task<Void, Never>?) async -> Task<Void, Never>? {
        let hold = await lock?.acquire(job.name)
        let claim = await persistently("claim", for: pace.claimLimit) {
            // A run that is lost would be in the way.
            try await lostRuns.find()
            return try await store.claim(
                job.name,
                scheduledFor: time,
                at: now(),
                owner: owner,
                missed: missed,
                isReplacing: job.concurrency == .replace,
                deadline: .now + Self.queryLimit
            )
        }
        if case .started(let fence) = claim {
            if missed > 0 { metrics.count(job.name, .missed, times: missed) }
            return await begin(time, fence: fence, hold: hold, after: going)
        }
        if let hold { await lock?.release(hold) }
        if case .busy(let other, let since) = claim {
            // A time that had passed before the run began does not overlap it: it only has to wait for its turn.
            if since >= time { await pause(pace.retryPause) } else { await wait(time, missed: missed, for: other) }
        }
        return going
    }

    private func startQueued() async -> JobRunStore.Queued? {
        let queued = await persistently("start queued", for: .zero) {
            try await lostRuns.find()
            return try await store.startQueued(job.name, at: now(), owner: owner, deadline: .now + Self.queryLimit)
        }
        return queued ?? nil
    }

    /// What becomes of a time that comes while the run of another one is going.
    private func wait(_ time: Date, missed: Int, for other: Date) async {
        if job.concurrency == .queueOne {
            let isQueued = await persistently("queue", for: .zero) {
                try await store.enqueue(
                    job.name,
                    scheduledFor: time,
                    at: now(),
                    missed: missed,
                    deadline: .now + Self.queryLimit
                )
            }
            guard isQueued == false else { return }
        }
        let reason = "the run of \(utcTime(other)) was still going"
        let more = job.concurrency == .queueOne ? ", and another one waits already" : ""
        await pass(time, .skipped, missed: missed, reason: reason + more)
    }

    private func pass(_ time: Date, _ result: JobRunStore.Result, missed: Int, reason: String) async {
        let isNoted = await persistently("note", for: .zero) {
            try await store.pass(
                job.name,
                scheduledFor: time,
                at: now(),
                result: result,
                missed: missed,
                reason: reason,
                deadline: .now + Self.queryLimit
            )
        }
        guard isNoted == true else { return }
        metrics.count(job.name, result)
        if missed > 0 { metrics.count(job.name, .missed, times: missed) }
        logger.warning(
            "run \(result.rawValue)",
            metadata: [
                "job": "\(job.name)", "scheduledFor": "\(utcTime(time))", "reason": "\(reason)",
                "missedBefore": "\(missed)",
            ]
        )
    }

    // MARK: - Runs

    /// Starts a run; one of our own that is still going has been replaced or given up, and is stopped first.
    private func begin(
        _ time: Date,
        fence: Int64,
        hold: JobLock.Hold?,
        after going: Task<Void, Never>?
    ) async -> Task<Void, Never> {
        going?.cancel()
        await going?.value
        return Task { await execute(time, fence: fence, hold: hold) }
    }

    private func execute(_ time: Date, fence: Int64, hold: JobLock.Hold?) async {
        let variables = ["JUMUN_JOB": job.name, "JUMUN_FENCE": "\(fence)", "JUMUN_SCHEDULED_FOR": utcTime(time)]
        let child = Child(
            job.command,
            in: executables,
            environment: environment.merging(variables) { $1 },
            timeout: job.timeout
        )
        let start = ContinuousClock.now
        let ending = await run(child, fence: fence, hold: hold)
        let duration = ContinuousClock.now - start
        if let hold { await lock?.release(hold) }
        // A task of its own: also the end of a run that was cancelled is noted.
        let isOurs = await Task {
            await persistently("finish") {
                try await store.finish(job.name, fence: fence, at: now(), ending, deadline: .now + Self.queryLimit)
            }
        }
        .value
        let result = isOurs == false ? JobRunStore.Result.replaced : ending.result
        metrics.count(job.name, result)
        log(ending, result, time, fence: fence, duration: duration)
    }

    /// Runs the process beside the heartbeats of its run, and stops it when the run has become another's.
    private func run(_ child: Child, fence: Int64, hold: JobLock.Hold?) async -> JobRunStore.Ending {
        await withTaskGroup(of: JobRunStore.Ending?.self) { group in
            group.addTask { await child.run() }
            group.addTask {
                await sendHeartbeats(fence: fence)
                return nil
            }
            if let lock, let hold {
                group.addTask {
                    await lock.keep(hold)
                    return nil
                }
            }
            var ending: JobRunStore.Ending?
            while let event = await group.next() {
                ending = ending ?? event
                group.cancelAll()
            }
            return ending ?? JobRunStore.Ending(result: .failed, exitCode: nil, signal: nil, detail: nil)
        }
    }

    /// Returns when the run is not ours any more, or it is cancelled.
    private func sendHeartbeats(fence: Int64) async {
        while true {
            do { try await Task.sleep(for: pace.heartbeat) } catch { return }
            // While the database is down nobody else can take the run either.
            let isOurs = try? await store.beat(job.name, fence: fence, deadline: .now + Self.queryLimit)
            if isOurs == false { return }
        }
    }

    // MARK: - Persistence

    /// Tries until it succeeds, the time is up, or it is time to stop; nil when it never succeeded.
    private func persistently<Value: Sendable>(
        _ what: String,
        for limit: Duration? = nil,
        _ body: () async throws -> Value
    ) async -> Value? {
        let end = limit.map { ContinuousClock.now + $0 }
        var failures = 0
        while true {
            do {
                return try await body()
            } catch {
                let isLast = isStopping || end.map { ContinuousClock.now >= $0 } ?? false
                if isLast || failures % Self.loggedFailures == 0 {
                    logger.warning(
                        "database failed",
                        metadata: [
                            "job": "\(job.name)", "operation": "\(what)", "error": "\(error)", "givesUp": "\(isLast)",
                        ]
                    )
                }
                failures += 1
                await pause(pace.retryPause)
                if isLast { return nil }
            }
        }
    }

    /// Sleeps; no longer than until the graceful shutdown.
    private func pause(_ duration: Duration) async {
        try? await cancelWhenGracefulShutdown { try await Task.sleep(for: duration) }
    }

    private func level(of result: JobRunStore.Result) -> Logger.Level {
        switch result {
        case .ok: .info
        case .skipped: .notice
        default: .error
        }
    }

    private func log(
        _ ending: JobRunStore.Ending,
        _ result: JobRunStore.Result,
        _ time: Date,
        fence: Int64,
        duration: Duration
    ) {
        logger.log(
            level: level(of: result),
            "job ended",
            metadata: [
                "job": "\(job.name)",
                "scheduledFor": "\(utcTime(time))",
                "fence": "\(fence)",
                "result": "\(result.rawValue)",
                "exitCode": "\(ending.exitCode.map(String.init) ?? "none")",
                "durationMs": "\(Int(duration / .milliseconds(1)))",
                "detail": "\(ending.detail ?? "")",
            ]
        )
    }
}

/// In UTC, to the second.
func utcTime(_ time: Date) -> String {
    time.formatted(Date.ISO8601FormatStyle())
}
