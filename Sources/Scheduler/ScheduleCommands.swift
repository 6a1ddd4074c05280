import ArgumentParser
import Foundation
import ServiceRuntime

extension Scheduler {
    /// `scheduler list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the jobs and when each runs next.",
            discussion: SchedulerSettings.scheduleHelp
        )

        @Option(help: "text or json.")
        var format = Format.text

        func run() async throws {
            await ServiceProcess.main("scheduler") { settings, _ in
                let now = Date.now
                let jobs = try SchedulerSettings.schedule(settings).jobs
                switch format {
                case .text:
                    printTable(
                        [["JOB", "CRON", "TIME ZONE", "TIMEOUT", "NEXT", "COMMAND"]]
                            + jobs.map { job in
                                [
                                    job.name, job.cron, job.timeZone.identifier, "\(job.timeout.components.seconds) s",
                                    job.next(after: now).map { localTime($0, job) } ?? "never",
                                    job.command.joined(separator: " "),
                                ]
                            }
                    )
                case .json: try printJSON(jobs.map { JobJSON($0, now: now) })
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
    let next: String?

    init(_ job: Job, now: Date) {
        name = job.name
        cron = job.cron
        timezone = job.timeZone.identifier
        command = job.command
        timeoutSeconds = job.timeout.components.seconds
        next = job.next(after: now).map(utcTime)
    }
}

private struct TimeJSON: Encodable {
    let job: String
    let time: String
}

/// As the clock of the job's zone shows it, with the offset.
private func localTime(_ time: Date, _ job: Job) -> String {
    time.formatted(Date.ISO8601FormatStyle(timeZoneSeparator: .colon, timeZone: job.timeZone))
}

private func utcTime(_ time: Date) -> String {
    time.formatted(Date.ISO8601FormatStyle())
}

/// Rows with the heads first, in columns as wide as they need.
private func printTable(_ rows: [[String]]) {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
        let cells = zip(row, widths).map { cell, width in cell + String(repeating: " ", count: width - cell.count) }
        print(cells.joined(separator: "  ").trimmingCharacters(in: .whitespaces))
    }
}

/// One line of JSON, its members in the order of the alphabet.
private func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
