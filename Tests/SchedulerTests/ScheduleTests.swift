import Foundation
import ServiceRuntime
import Testing

@testable import Scheduler

@Suite("Schedule")
struct ScheduleTests {
    private static let minimal = """
        [[job]]
        name = "popular-products"
        cron = "* * * * *"
        command = ["aggregator", "run"]
        """

    @Test("what is not given has its default")
    func defaults() throws {
        let job = try #require(try Schedule(toml: Self.minimal).jobs.first)
        #expect(job.name == "popular-products")
        #expect(job.cron == "* * * * *")
        #expect(job.timeZone.identifier == "Asia/Seoul")
        #expect(job.command == ["aggregator", "run"])
        #expect(job.timeout == .seconds(60))
        #expect(job.concurrency == .forbid && job.misfire == .coalesce)
        #expect(job.startingDeadline == nil && job.jitter == .zero && job.environment.isEmpty)
    }

    @Test("what is given holds")
    func allKeys() throws {
        let schedule = try Schedule(
            toml: Self.minimal + """

                [[job]]
                name = "nightly"
                cron = "0 3 * * *"
                timezone = "Europe/Berlin"
                command = ["/bin/true"]
                timeout_seconds = 86400
                concurrency = "queue-one"
                misfire = "all"
                starting_deadline_seconds = 600
                jitter_seconds = 30
                environment = { LOG_LEVEL = "debug", DATABASE_URL = "$AUDIT_DATABASE_URL" }
                """
        )
        #expect(schedule.jobs.map(\.name) == ["popular-products", "nightly"])
        let job = try #require(schedule.jobs.last)
        #expect(job.timeZone.identifier == "Europe/Berlin")
        #expect(job.timeout == .seconds(86_400))
        #expect(job.concurrency == .queueOne && job.misfire == .all)
        #expect(job.startingDeadline == .seconds(600) && job.jitter == .seconds(30))
        #expect(job.environment == ["LOG_LEVEL": "debug", "DATABASE_URL": "$AUDIT_DATABASE_URL"])
    }

    private static func operations(_ path: String) throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try String(contentsOf: root.appending(path: "ops/" + path), encoding: .utf8)
    }

    @Test(
        "the schedule that is delivered is a right one, and a run of the ranking has the ten minutes that it may take"
    )
    func delivered() throws {
        let schedule = try Schedule(toml: Self.operations("schedule.toml"))
        #expect(schedule.jobs.map(\.name) == ["popular-products", "clean", "audit", "verify-ranking"])
        #expect(schedule.jobs[0].timeout > .seconds(600))
    }

    @Test("cron, systemd and Kubernetes give each job as much time as the schedule")
    func copies() throws {
        let (cron, kubernetes) = try (Self.operations("cron/job"), Self.operations("k8s/components/cronjobs/jobs.yaml"))
        let patterns = ["aggregator*", #""orderctl clean"*"#, #""orderctl audit"*"#, #""aggregator verify"*"#]
        let limits = kubernetes.split(separator: "\n").filter { $0.contains("activeDeadlineSeconds:") }
        let jobs = try Schedule(toml: Self.operations("schedule.toml")).jobs
        for (index, job) in jobs.enumerated() {
            let limit = Int(job.timeout / .seconds(1))
            let line = cron.split(separator: "\n").first { $0.contains(patterns[index] + ")") }
            #expect(line?.hasSuffix(" limit=\(limit) ;;") == true, "\(job.name)")
            #expect(limits[index].hasSuffix(" \(limit)"), "\(job.name)")
            // The time limit of ops/cron/job comes first.
            let unit = ["aggregator", "clean", "audit", "verify"][index]
            #expect(try Self.operations("systemd/jumun-\(unit).service").contains("TimeoutStartSec=\(limit + 10)\n"))
        }
    }

    @Test("the next times of all jobs come in their order")
    func nextTimes() throws {
        let schedule = try Schedule(
            toml: """
                [[job]]
                name = "hourly"
                cron = "0 * * * *"
                command = ["a"]
                [[job]]
                name = "half"
                cron = "*/30 * * * *"
                command = ["b"]
                """
        )
        let times = schedule.next(4, after: Date(timeIntervalSince1970: 0))
        #expect(times.map(\.time.timeIntervalSince1970) == [1_800, 3_600, 3_600, 5_400])
        #expect(times.map(\.job.name) == ["half", "half", "hourly", "half"])
    }

    @Test("a process gets no database's URL but the one that its job names, as the scheduler has it")
    func environment() throws {
        let job = try #require(
            try Schedule(toml: Self.minimal + "\nenvironment = { DATABASE_URL = \"$AUDIT_DATABASE_URL\", A = \"1\" }")
                .jobs
                .first
        )
        let own = [
            "PATH": "/bin", "DATABASE_URL": "scheduler", "AUDIT_DATABASE_URL": "audit",
            "AGGREGATOR_DATABASE_URL": "other",
        ]
        #expect(
            try SchedulerSettings.environment(of: job, from: own) == [
                "PATH": "/bin", "DATABASE_URL": "audit", "A": "1",
            ]
        )
        let error = try #require(throws: SettingsError.self) {
            try SchedulerSettings.environment(of: job, from: ["PATH": "/bin"])
        }
        for word in ["popular-products", "environment.DATABASE_URL", "$AUDIT_DATABASE_URL", "not set"] {
            #expect(error.description.contains(word))
        }
    }

    /// A wrong schedule, and what its error must name.
    struct Wrong: Sendable, CustomTestStringConvertible {
        let toml: String
        let code: ScheduleError.Code
        let words: [String]

        var testDescription: String { words.joined(separator: ", ") }

        /// The right schedule with a line changed or added.
        init(_ line: String, instead old: String? = nil, _ code: ScheduleError.Code, _ words: String...) {
            let minimal = ScheduleTests.minimal
            toml = old.map { minimal.replacing($0, with: line) } ?? minimal + "\n" + line
            self.code = code
            self.words = words
        }

        init(whole toml: String, _ code: ScheduleError.Code, _ words: String...) {
            (self.toml, self.code, self.words) = (toml, code, words)
        }
    }

    private static let name = #"name = "popular-products""#
    private static let cron = #"cron = "* * * * *""#
    private static let command = #"command = ["aggregator", "run"]"#

    static let wrong = [
        Wrong(whole: "[[job", .syntax, "no TOML"),
        Wrong(whole: "", .badValue, "no job"),
        Wrong(whole: "job = []", .badValue, "no job"),
        Wrong(whole: "job = [1]", .badValue, "job 1"),
        Wrong(whole: "jobs = 1\n" + minimal, .unknownKey, "jobs"),
        Wrong("", instead: name, .missingKey, "job 1", "name"),
        Wrong("name = 7", instead: name, .badValue, "job 1", "name", "7"),
        Wrong(#"name = "Popular""#, instead: name, .badValue, "job 1", "name", "Popular"),
        Wrong(#"name = "-a""#, instead: name, .badValue, "job 1", "name"),
        Wrong(#"name = "\#(String(repeating: "a", count: 64))""#, instead: name, .badValue, "job 1", "name"),
        Wrong("[[job]]\n\(name)\n\(cron)\n\(command)", .duplicateName, "job 2", "popular-products"),
        Wrong("", instead: cron, .missingKey, "popular-products", "cron"),
        Wrong(#"cron = "61 * * * *""#, instead: cron, .badValue, "popular-products", "cron", "minute"),
        Wrong(#"cron = "0 0 30 2 *""#, instead: cron, .badValue, "popular-products", "cron", "no date"),
        Wrong("cron = 5", instead: cron, .badValue, "popular-products", "cron", "a text"),
        Wrong(#"timezone = "Asia/Atlantis""#, .badValue, "popular-products", "timezone", "Asia/Atlantis"),
        Wrong("", instead: command, .missingKey, "popular-products", "command"),
        Wrong("command = []", instead: command, .badValue, "popular-products", "command"),
        Wrong(#"command = [""]"#, instead: command, .badValue, "popular-products", "command"),
        Wrong(#"command = ["a", 1]"#, instead: command, .badValue, "popular-products", "command"),
        Wrong(#"command = "a""#, instead: command, .badValue, "popular-products", "command"),
        Wrong("timeout_seconds = 0", .badValue, "popular-products", "timeout_seconds", "0"),
        Wrong("timeout_seconds = 86401", .badValue, "popular-products", "timeout_seconds", "86401"),
        Wrong("timeout_seconds = 1.5", .badValue, "popular-products", "timeout_seconds"),
        Wrong("timeout = 5", .unknownKey, "popular-products", "timeout"),
        Wrong(#"concurrency = "allow""#, .badValue, "popular-products", "concurrency", "allow", #""queue-one""#),
        Wrong("concurrency = true", .badValue, "popular-products", "concurrency", #""forbid""#),
        Wrong(#"misfire = "once""#, .badValue, "popular-products", "misfire", "once", #""coalesce", "all", "skip""#),
        Wrong("starting_deadline_seconds = 0", .badValue, "popular-products", "starting_deadline_seconds", "from 1"),
        Wrong("jitter_seconds = -1", .badValue, "popular-products", "jitter_seconds", "from 0 to 3600"),
        Wrong("environment = 5", .badValue, "popular-products", "environment", "a table"),
        Wrong(#"environment = { "A-B" = "1" }"#, .badValue, "popular-products", "environment.A-B", "letters"),
        Wrong(#"environment = { JUMUN_FENCE = "1" }"#, .badValue, "popular-products", "environment.JUMUN_FENCE"),
        Wrong("environment = { A = 1 }", .badValue, "popular-products", "environment.A", "a text"),
    ]

    @Test("a mistake is told with the job and the key", arguments: wrong)
    func mistakes(_ wrong: Wrong) throws {
        let error = try #require(throws: ScheduleError.self) { try Schedule(toml: wrong.toml) }
        #expect(error.code == wrong.code)
        for word in wrong.words {
            #expect(error.description.contains(word), "\(error)")
        }
        #expect(!error.description.contains("\n"))
    }
}
