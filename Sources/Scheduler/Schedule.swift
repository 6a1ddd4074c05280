import Foundation
import TOMLKit

/// A job: what is started, and when.
struct Job: Sendable {
    /// What happens to a time that comes while a run of the job is going.
    enum Concurrency: String, CaseIterable, Sendable {
        /// It is skipped.
        case forbid
        /// It waits; further times are skipped while one waits.
        case queueOne = "queue-one"
        /// The run that is going is stopped for it.
        case replace
    }

    /// What happens to times that passed while no scheduler could start them.
    enum Misfire: String, CaseIterable, Sendable {
        /// The last one is run for all of them.
        case coalesce
        /// All are run, one after the other.
        case all
        /// None is run that is more than a minute late.
        case skip
    }

    let name: String
    /// The expression as it is written.
    let cron: String
    let expression: CronExpression
    let timeZone: TimeZone
    /// The executable and its arguments; never empty.
    let command: [String]
    let timeout: Duration
    let concurrency: Concurrency
    let misfire: Misfire
    /// How late a run may start; nil when it is never too late.
    let startingDeadline: Duration?
    /// How long after its time a run starts at most, so that jobs of one minute do not all start in its first second.
    let jitter: Duration
    /// What is set for the process; a value `$NAME` stands for the scheduler's own variable of that name.
    let environment: [String: String]

    /// The first time after a moment; nil only where the calendar ends.
    func next(after moment: Date) -> Date? {
        expression.next(after: moment, in: timeZone)
    }
}

/// All jobs, as `schedule.toml` tells them.
struct Schedule: Sendable {
    /// At least one, each with a name of its own, in the order of the file.
    let jobs: [Job]

    /// Reads and checks a TOML document; the error names the job and the key.
    init(toml: String) throws(ScheduleError) {
        let document: TOMLTable
        do {
            document = try TOMLTable(string: toml)
        } catch {
            throw ScheduleError(.syntax, "the schedule is no TOML: \(error)")
        }
        // Tables inside of the document belong to it and end with it.
        defer { withExtendedLifetime(document) {} }
        if let key = document.keys.sorted().first(where: { $0 != "job" }) {
            throw ScheduleError(.unknownKey, "the schedule has the unknown key \(key); it consists of [[job]] tables")
        }
        guard let tables = document["job"]?.array, !tables.isEmpty else {
            throw ScheduleError(.badValue, "the schedule has no job; write at least one [[job]] table")
        }
        var jobs: [Job] = []
        for (index, value) in tables.enumerated() {
            guard let table = value.table else {
                throw ScheduleError(.badValue, "job \(index + 1) is no table; write [[job]]")
            }
            let job = try JobReader(table: table, number: index + 1).job()
            guard !jobs.contains(where: { $0.name == job.name }) else {
                throw ScheduleError(.duplicateName, "job \(index + 1): name \"\(job.name)\" is used already")
            }
            jobs.append(job)
        }
        self.jobs = jobs
    }

    /// The next times of all jobs, the earliest first.
    func next(_ count: Int, after moment: Date) -> [(time: Date, job: Job)] {
        var times: [(time: Date, job: Job)] = []
        for job in jobs {
            var last = moment
            for _ in 0..<count {
                guard let time = job.next(after: last) else { break }
                times.append((time, job))
                last = time
            }
        }
        return Array(times.sorted { ($0.time, $0.job.name) < ($1.time, $1.job.name) }.prefix(count))
    }
}

/// Why a text is no schedule.
struct ScheduleError: Error, CustomStringConvertible {
    /// The kind of mistake.
    enum Code: String, Sendable {
        case syntax, unknownKey, missingKey, badValue, duplicateName
    }

    let code: Code
    /// Names the job and the key; one line.
    let description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}

/// Reads one `[[job]]` table.
private struct JobReader {
    private static let keys = [
        "name", "cron", "timezone", "command", "timeout_seconds", "concurrency", "misfire",
        "starting_deadline_seconds", "jitter_seconds", "environment",
    ]

    let table: TOMLTable
    /// Its place in the file, from 1; its name until it has one.
    let number: Int

    func job() throws(ScheduleError) -> Job {
        let name = try self.name()
        if let key = table.keys.sorted().first(where: { !Self.keys.contains($0) }) {
            let known = Self.keys.joined(separator: ", ")
            throw ScheduleError(.unknownKey, "job \"\(name)\": unknown key \(key); known are \(known)")
        }
        let cron = try text("cron", of: name)
        let timeZone = try self.timeZone(of: name)
        return Job(
            name: name,
            cron: cron,
            expression: try expression(cron, in: timeZone, of: name),
            timeZone: timeZone,
            command: try command(of: name),
            timeout: try seconds("timeout_seconds", in: 1...86_400, of: name) ?? .seconds(60),
            concurrency: try choice("concurrency", of: name) ?? .forbid,
            misfire: try choice("misfire", of: name) ?? .coalesce,
            startingDeadline: try seconds("starting_deadline_seconds", in: 1...31_536_000, of: name),
            jitter: try seconds("jitter_seconds", in: 0...3_600, of: name) ?? .zero,
            environment: try environment(of: name)
        )
    }

    private func name() throws(ScheduleError) -> String {
        guard let value = table["name"] else { throw ScheduleError(.missingKey, "job \(number): name is missing") }
        guard let name = value.string, name.wholeMatch(of: /[a-z0-9][a-z0-9-]{0,62}/) != nil else {
            let rule = "1 to 63 small letters, digits and \"-\", and no \"-\" at the start"
            throw ScheduleError(.badValue, "job \(number): name is \(shown(value)): expected \(rule)")
        }
        return name
    }

    private func text(_ key: String, of job: String) throws(ScheduleError) -> String {
        guard let value = table[key] else { throw ScheduleError(.missingKey, "job \"\(job)\": \(key) is missing") }
        guard let text = value.string else { throw bad(key, value, of: job, expected: "a text") }
        return text
    }

    private func timeZone(of job: String) throws(ScheduleError) -> TimeZone {
        let identifier = table["timezone"] == nil ? "Asia/Seoul" : try text("timezone", of: job)
        guard let zone = TimeZone(identifier: identifier) else {
            let problem = "timezone is \"\(identifier)\": expected a name such as Asia/Seoul or UTC"
            throw ScheduleError(.badValue, "job \"\(job)\": \(problem)")
        }
        return zone
    }

    private func expression(
        _ cron: String,
        in zone: TimeZone,
        of job: String
    ) throws(ScheduleError) -> CronExpression {
        let expression: CronExpression
        do {
            expression = try CronExpression(cron)
        } catch {
            throw ScheduleError(.badValue, "job \"\(job)\": cron: \(error)")
        }
        guard expression.next(after: Date(timeIntervalSince1970: 0), in: zone) != nil else {
            throw ScheduleError(.badValue, "job \"\(job)\": cron: no date ever matches \"\(cron)\"")
        }
        return expression
    }

    private func command(of job: String) throws(ScheduleError) -> [String] {
        guard let value = table["command"] else {
            throw ScheduleError(.missingKey, "job \"\(job)\": command is missing")
        }
        let words = value.array?.map(\.string) ?? []
        let command = words.compactMap(\.self)
        guard let executable = command.first, !executable.isEmpty, command.count == words.count else {
            throw bad("command", value, of: job, expected: "a list of texts: the executable and its arguments")
        }
        return command
    }

    private func seconds(
        _ key: String,
        in range: ClosedRange<Int>,
        of job: String
    ) throws(ScheduleError) -> Duration? {
        guard let value = table[key] else { return nil }
        guard let seconds = value.int, range.contains(seconds) else {
            let right = "a whole number from \(range.lowerBound) to \(range.upperBound)"
            throw bad(key, value, of: job, expected: right)
        }
        return .seconds(seconds)
    }

    private func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ key: String,
        of job: String
    ) throws(ScheduleError) -> Choice? {
        guard let value = table[key] else { return nil }
        guard let choice = value.string.flatMap(Choice.init) else {
            let choices = Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            throw bad(key, value, of: job, expected: "one of \(choices)")
        }
        return choice
    }

    private func environment(of job: String) throws(ScheduleError) -> [String: String] {
        guard let value = table["environment"] else { return [:] }
        guard let variables = value.table else {
            throw bad("environment", value, of: job, expected: #"a table such as { LOG_LEVEL = "debug" }"#)
        }
        var environment: [String: String] = [:]
        for name in variables.keys.sorted() {
            guard name.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) != nil, !name.hasPrefix("JUMUN_") else {
                let rule = "letters, digits and \"_\", and not JUMUN_ at the start, which is the scheduler's own"
                throw ScheduleError(.badValue, "job \"\(job)\": environment.\(name): expected a name of \(rule)")
            }
            guard let text = variables[name]?.string, !text.contains("\0") else {
                throw ScheduleError(.badValue, "job \"\(job)\": environment.\(name): expected a text")
            }
            environment[name] = text
        }
        return environment
    }

    private func bad(
        _ key: String,
        _ value: any TOMLValueConvertible,
        of job: String,
        expected: String
    ) -> ScheduleError {
        ScheduleError(.badValue, "job \"\(job)\": \(key) is \(shown(value)): expected \(expected)")
    }

    private func shown(_ value: any TOMLValueConvertible) -> String {
        if let text = value.string { return "\"\(text)\"" }
        if let number = value.int { return "\(number)" }
        return "a value of type \(value.type)"
    }
}
