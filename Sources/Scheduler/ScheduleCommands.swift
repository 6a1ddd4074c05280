import ArgumentParser
import Foundation
import Logging
import OrderStore
import Postgres
import ServiceRuntime

extension Scheduler {
    /// `scheduler list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the jobs, when each runs next, and how its last run ended.",
            discussion: """
                The last runs are shown where DATABASE_URL is set.

                \(SchedulerSettings.historyHelp)
                """
        )

        @Option(help: "text or json.")
        var format = Format.text

        func run() async throws {
            await ServiceProcess.main("scheduler") { settings, _ in
                let now = Date.now
                let jobs = try SchedulerSettings.schedule(settings).jobs
                let lastRuns = try await lastRuns(of: jobs, settings)
                switch format {
                case .text:
                    printTable(
                        [["JOB", "CRON", "TIME ZONE", "NEXT", "LAST RUN", "RESULT", "COMMAND"]]
                            + jobs.map { job in
                                let last = lastRuns[job.name]
                                return [
                                    job.name, job.cron, job.timeZone.identifier,
                                    job.next(after: now).map { localTime($0, job) } ?? "never",
                                    last.map { localTime($0.scheduledFor, job) } ?? "-", last?.outcome ?? "-",
                                    job.command.joined(separator: " "),
                                ]
                            }
                    )
                case .json: try printJSON(jobs.map { JobJSON($0, now: now, last: lastRuns[$0.name]) })
                }
            }
        }

        /// By the names of the jobs; none where no database is set. One that cannot be reached is told on standard
        /// error, since the schedule itself needs none.
        private func lastRuns(of jobs: [Job], _ settings: Settings) async throws -> [String: JobRunStore.JobRun] {
            guard try settings.secret("DATABASE_URL", default: "") != "" else { return [:] }
            do {
                let runs = try await withStore(settings) { store, deadline in
                    try await store.latest(jobs.map(\.name), deadline: deadline)
                }
                return Dictionary(runs.map { ($0.job, $0) }) { $1 }
            } catch let error as PostgresError {
                FileHandle.standardError.write(Data("scheduler: the last runs are not shown: \(error)\n".utf8))
                return [:]
            }
        }
    }

    /// `scheduler history`
    struct History: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the last runs, and the times that came to nothing, latest first.",
            discussion: SchedulerSettings.historyHelp
        )

        @Option(help: "Only the runs of this job.")
        var job: String?

        @Option(help: "How many runs, 1 to 1000.")
        var limit = 20

        @Option(help: "text or json.")
        var format = Format.text

        func validate() throws {
            guard (1...1_000).contains(limit) else { throw ValidationError("--limit must be from 1 to 1000") }
        }

        func run() async throws {
            await ServiceProcess.main("scheduler") { settings, _ in
                let runs = try await withStore(settings) { store, deadline in
                    try await store.history(of: job, limit: limit, deadline: deadline)
                }
                switch format {
                case .text:
                    printTable(
                        [["SCHEDULED FOR", "JOB", "RESULT", "TOOK", "DETAIL"]]
                            + runs.map { run in
                                [utcTime(run.scheduledFor), run.job, run.outcome, run.duration, run.remark]
                            }
                    )
                case .json: try printJSON(runs.map(RunJSON.init))
                }
            }
        }
    }

    /// `scheduler next`
    struct Next: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the next times at which jobs run.",
            discussion: SchedulerSettings.scheduleHelp
        )

        @Option(help: "How many times, 1 to 1000.")
        var count = 5

        @Option(help: "text or json.")
        var format = Format.text

        func validate() throws {
            guard (1...1_000).contains(count) else { throw ValidationError("--count must be from 1 to 1000") }
        }

        func run() async throws {
            await ServiceProcess.main("scheduler") { settings, _ in
                let times = try SchedulerSettings.schedule(settings).next(count, after: .now)
                switch format {
                case .text: printTable([["NEXT", "JOB"]] + times.map { [localTime($0.time, $0.job), $0.job.name] })
                case .json: try printJSON(times.map { TimeJSON(job: $0.job.name, time: utcTime($0.time)) })
                }
            }
        }
    }
}

private struct JobJSON: Encodable {
    let name: String
    let cron: String
    let timezone: String
    let command: [String]
    let timeoutSeconds: Int64
    let concurrency: String
    let misfire: String
    let startingDeadlineSeconds: Int64?
    let jitterSeconds: Int64
    let next: String?
    let last: RunJSON?

    init(_ job: Job, now: Date, last: JobRunStore.JobRun?) {
        name = job.name
        cron = job.cron
        timezone = job.timeZone.identifier
        command = job.command
        timeoutSeconds = job.timeout.components.seconds
        concurrency = job.concurrency.rawValue
        misfire = job.misfire.rawValue
        startingDeadlineSeconds = job.startingDeadline?.components.seconds
        jitterSeconds = job.jitter.components.seconds
        next = job.next(after: now).map(utcTime)
        self.last = last.map(RunJSON.init)
    }
}

private struct TimeJSON: Encodable {
    let job: String
    let time: String
}

private struct RunJSON: Encodable {
    let job: String
    let scheduledFor: String
    let startedAt: String
    let finishedAt: String?
    let result: String
    let exitCode: Int?
    let signal: Int?
    let missedBefore: Int64
    let detail: String?

    init(_ run: JobRunStore.JobRun) {
        job = run.job
        scheduledFor = utcTime(run.scheduledFor)
        startedAt = utcTime(run.startedAt)
        finishedAt = run.finishedAt.map(utcTime)
        result = run.result.rawValue
        exitCode = run.exitCode
        signal = run.signal
        missedBefore = run.missed
        detail = run.detail
    }
}

extension JobRunStore.JobRun {
    /// The result with what a failure ended with.
    fileprivate var outcome: String {
        if let signal { return "\(result.rawValue) (signal \(signal))" }
        if let exitCode, exitCode != 0 { return "\(result.rawValue) (exit \(exitCode))" }
        return result.rawValue
    }

    fileprivate var duration: String {
        // Without an exit code nothing was started.
        guard let finishedAt, exitCode != nil || ![.skipped, .missed].contains(result) else { return "-" }
        return String(format: "%.1f s", finishedAt.timeIntervalSince(startedAt))
    }

    /// One line of what was said, and how many times before it came to nothing else.
    fileprivate var remark: String {
        let times = missed == 0 ? nil : "also for \(missed) missed \(missed == 1 ? "time" : "times") before"
        let line = detail?.split(whereSeparator: \.isNewline).last?.split(separator: " ").joined(separator: " ")
        return String([times, line].compactMap(\.self).joined(separator: "; ").prefix(100))
    }
}

/// Lends a connection for one question.
private func withStore<R: Sendable>(
    _ settings: Settings,
    _ body: (JobRunStore, ContinuousClock.Instant) async throws -> R
) async throws -> R {
    let logger = Logger(label: "scheduler") { _ in SwiftLogNoOpLogHandler() }
    let pool = PostgresPool(
        configuration: try SchedulerSettings.database(settings),
        maximumConnections: 1,
        logger: logger
    )
    do {
        let result = try await body(JobRunStore(pool), .now + .seconds(10))
        await pool.close()
        return result
    } catch {
        await pool.close()
        throw error
    }
}

/// As the clock of the job's zone shows it, with the offset.
private func localTime(_ time: Date, _ job: Job) -> String {
    time.formatted(Date.ISO8601FormatStyle(timeZoneSeparator: .colon, timeZone: job.timeZone))
}

/// Rows with the heads first.
private func printTable(_ rows: [[String]]) {
    guard let heads = rows.first else { return }
    var table = TextTable(heads.map { ($0, .left) })
    for row in rows.dropFirst() { table.add(row) }
    print(table.text)
}

/// One line of JSON, its members in the order of the alphabet.
private func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
