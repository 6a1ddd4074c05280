import Foundation
import OrderStore
import Postgres
import TestSupport
import Testing

/// The executable itself, with the rights of its own role.
@Suite("A killed scheduler", .timeLimit(.minutes(3)))
struct KilledSchedulerTests {
    private struct Scheduler {
        let process = Process()

        init(_ shop: Shop, schedule: URL) throws {
            let environment = ProcessInfo.processInfo.environment
            let folder = try #require(environment["JUMUN_TEST_BIN_DIR"], "run the tests with `make test`")
            var database = try #require(URLComponents(string: shop.url))
            database.user = "jumun_scheduler"
            let password = try #require(environment["JUMUN_TEST_ROLE_PASSWORD"])
            database.password = password
            process.executableURL = URL(filePath: folder).appending(path: "scheduler")
            process.arguments = ["run"]
            process.environment = [
                "PATH": "/usr/bin:/bin", "DATABASE_URL": database.string ?? "", "SCHEDULE_FILE": schedule.path,
                "SCHEDULER_PORT": "0", "LOG_LEVEL": "warning",
            ]
            process.standardOutput = FileHandle.nullDevice
            try process.run()
        }
    }

    @Test("its process ends with it, its run becomes lost, and the next scheduler goes on from there")
    func killed() async throws {
        try await Shop.withShop { shop in
            let folder = FileManager.default.temporaryDirectory.appending(path: "jumun-jobs-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            let schedule = folder.appending(path: "schedule.toml")
            let pidFile = folder.appending(path: "pid")
            // Once an hour, last two minutes ago: no other time comes while the test runs.
            let minute = (Int(Date.now.timeIntervalSince1970) / 60 - 2) % 60
            let toml = """
                [[job]]
                name = "job"
                cron = "\(minute) * * * *"
                timezone = "UTC"
                command = ["/bin/sh", "-c", "echo $$ >> \(pidFile.path); exec sleep 600"]
                timeout_seconds = 600
                """
            try toml.write(to: schedule, atomically: true, encoding: .utf8)
            // The run of an hour before: so there is one that was missed since.
            let connection = try await shop.connect()
            func execute(_ script: String) async throws {
                try await connection.execute(script: script, deadline: .now + Shop.timeout)
            }
            try await execute(
                """
                INSERT INTO job_runs (job, scheduled_for, started_at, finished_at, result)
                SELECT 'job', t, t, t, 'ok' FROM date_trunc('minute', now() - interval '62 minutes') AS t
                """
            )
            func results() async throws -> [String] {
                try await JobRunStore(shop.pool).history(of: "job", limit: 10, deadline: .now + Shop.timeout)
                    .map(\.result.rawValue).reversed()
            }
            func processes() -> [pid_t] {
                ((try? String(contentsOf: pidFile, encoding: .utf8)) ?? "").split(separator: "\n").compactMap {
                    pid_t($0)
                }
            }

            let first = try Scheduler(shop, schedule: schedule)
            try await eventually("the missed run is made up for") { processes().count == 1 }
            try #require(try await results() == ["ok", "running"])
            kill(first.process.processIdentifier, SIGKILL)
            try await eventually("its process is gone") { kill(processes()[0], 0) != 0 }

            // As if an hour had passed: its heartbeats are old, and the next time has come.
            try await execute(
                """
                UPDATE job_runs
                SET scheduled_for = scheduled_for - interval '1 hour'
                WHERE result = 'ok';
                UPDATE job_runs
                SET heartbeat_at = heartbeat_at - interval '1 hour',
                    scheduled_for = scheduled_for - interval '1 hour',
                    started_at = started_at - interval '1 hour'
                WHERE result = 'running';
                """
            )
            let second = try Scheduler(shop, schedule: schedule)
            try await eventually("the next run comes") { processes().count == 2 }
            #expect(try await results() == ["ok", "lost", "running"])
            kill(second.process.processIdentifier, SIGTERM)
            try await eventually("it stops", within: .seconds(15)) { !second.process.isRunning }
            #expect(second.process.terminationStatus == 0)
            let last = try #require(
                try await JobRunStore(shop.pool).history(of: "job", limit: 1, deadline: .now + Shop.timeout).first
            )
            #expect(last.result == .failed && last.signal == Int(SIGTERM))
            #expect(last.detail == "stopped together with the scheduler")
            #expect(kill(processes()[1], 0) != 0)
            await connection.close()
        }
    }
}
