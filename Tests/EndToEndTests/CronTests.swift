import Foundation
import Postgres
import Testing

extension EndToEndTests {
    @Test("each line of the crontab does its job as cron calls it: silent when all is well, with words when it is not")
    func crontab() async throws {
        try await System.with([]) { system in
            let crontab = try Crontab(system)
            try #require(crontab.commands.count == 4)
            let (aggregator, audit) = (crontab.commands[0], crontab.commands[2])
            try await system.run(script: CronStatements.addOldRuns)
            for command in crontab.commands {
                #expect(try await crontab.call(command) == Silence.ended(0), "\(command)")
            }
            let row = try #require(try await system.rows(CronStatements.traces).first)
            #expect(try row.get("ranked", as: Int64.self) == 1)
            // A job's last time stays, however old.
            #expect(try row.get("old", as: Int64.self) == 1)

            // What another run holds: nothing to write home about.
            let other = try await system.connect()
            _ = try await other.query(CronStatements.lockRuns, deadline: .now + .seconds(10))
            #expect(try await crontab.call(aggregator) == Silence.ended(0))
            await other.close()

            try await system.run(script: CronStatements.makeWrong)
            let wrong = try await crontab.call(audit)
            #expect(wrong.code == 1)
            #expect(
                wrong.output.hasPrefix("job: orderctl audit ended with 1\n") && wrong.output.contains("invariant 1")
            )
            try await system.run(script: CronStatements.makeRight)

            try crontab.writeEnvironment(databasePort: 1)
            for command in crontab.commands {
                let failure = try await crontab.call(command)
                #expect(failure.code != 0 && failure.output.hasPrefix("job: "), "\(command): \(failure)")
            }
        }
    }
}

/// What a command of cron ended with, and what cron would have mailed.
private struct Silence: Equatable {
    let code: Int32
    let output: String

    static func ended(_ code: Int32) -> Silence { Silence(code: code, output: "") }
}

/// `ops/cron/jumun.crontab`, whose commands are called as Debian's cron calls them.
private struct Crontab {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path(percentEncoded: false)

    /// With the checkout in place of /opt/jumun.
    private(set) var commands: [String] = []
    /// What the file sets, beside what cron itself gives to every command.
    private var environment: [String: String]
    private let environmentFile: URL
    private let system: System

    init(_ system: System) throws {
        self.system = system
        environmentFile = system.folder.appending(path: "environment")
        environment = [
            "HOME": system.folder.path(percentEncoded: false), "LOGNAME": "jumun", "PATH": "/usr/bin:/bin",
            "SHELL": "/bin/sh",
        ]
        let text = try String(contentsOfFile: Self.root + "ops/cron/jumun.crontab", encoding: .utf8)
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            if let setting = line.wholeMatch(of: /([A-Z_]+)=(.*)/) {
                environment[String(setting.1)] = String(setting.2)
            } else if let entry = line.wholeMatch(of: /(?:\S+\s+){5}(.*)/) {
                commands.append(String(entry.1).replacing("/opt/jumun/", with: Self.root))
            }
        }
        try #require(environment["JUMUN_ENVIRONMENT"] == "/etc/jumun/environment")
        environment["JUMUN_ENVIRONMENT"] = environmentFile.path(percentEncoded: false)
        try writeEnvironment()
    }

    /// The operator's file; `databasePort` in place of the server's, where nobody answers.
    func writeEnvironment(databasePort: Int? = nil) throws {
        var settings = [
            "BIN_DIR": try TestEnvironment.required("JUMUN_TEST_BIN_DIR"), "REDIS_URL": system.servers.redisURL,
        ]
        for role in ["aggregator", "cleaner", "audit"] {
            var url = try #require(URLComponents(string: system.servers.databaseURL(as: "jumun_\(role)")))
            if let databasePort { url.port = databasePort }
            settings["\(role.uppercased())_DATABASE_URL"] = url.string
        }
        let lines = settings.map { "\($0.key)=\($0.value)\n" }
        try lines.joined().write(to: environmentFile, atomically: true, encoding: .utf8)
    }

    /// With the shell of the file, no input, and nothing of our own environment.
    func call(_ command: String) async throws -> Silence {
        let process = Process()
        let file = system.folder.appending(path: "cron-\(UUID().uuidString)")
        try Data().write(to: file)
        let output = try FileHandle(forWritingTo: file)
        process.executableURL = URL(filePath: environment["SHELL"] ?? "/bin/sh")
        process.arguments = ["-c", command]
        process.environment = environment
        process.currentDirectoryURL = system.folder
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try await system.eventually("\(command) has ended", within: .seconds(30)) { !process.isRunning }
        try output.close()
        return Silence(code: process.terminationStatus, output: try String(contentsOf: file, encoding: .utf8))
    }
}

private enum CronStatements {
    static let addOldRuns = """
        INSERT INTO job_runs (job, scheduled_for, started_at, finished_at, result)
        SELECT 'old', t, t, t, 'ok' FROM generate_series(now() - interval '99 days', now() - interval '98 days', '1 h') t
        """
    static let traces = SQLStatement(
        "cron_test_traces",
        """
        SELECT (SELECT count(*) FROM aggregation_runs WHERE trigger = 'schedule') AS ranked,
               (SELECT count(*) FROM job_runs) AS old
        """
    )
    static let lockRuns = SQLStatement("cron_test_lock", "SELECT true AS locked FROM pg_advisory_lock(7002)")
    /// Money without a history.
    static let makeWrong = """
        INSERT INTO users (name, email, balance, created_at, updated_at)
        VALUES ('Wrong', 'wrong@example.com', 5, now(), now())
        """
    static let makeRight = "DELETE FROM users WHERE email = 'wrong@example.com'"
}
