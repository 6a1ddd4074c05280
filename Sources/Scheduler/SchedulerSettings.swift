import Foundation
import Postgres
import Redis
import ServiceRuntime

/// What the environment says; read and checked once, at the start.
struct SchedulerSettings {
    static let scheduleHelp = """
        Environment:
          SCHEDULE_FILE   the jobs, in TOML; default ops/schedule.toml
        """

    static let historyHelp = """
        Environment:
          DATABASE_URL    postgres://user:password@host:port/database
          SCHEDULE_FILE   the jobs, in TOML; default ops/schedule.toml
        """

    static let help = """
        Environment:
          DATABASE_URL    postgres://user:password@host:port/database; required
          REDIS_URL       redis://:password@host:port/number of the locks that keep schedulers from contending for the
                          same runs; may be left out
          SCHEDULE_FILE   the jobs, in TOML; default ops/schedule.toml
          BIN_DIR         folder of the executables that jobs start; default the folder of the scheduler itself
          LISTEN_HOST     address to listen on; default 127.0.0.1
          SCHEDULER_PORT  port to listen on; default 8082
          LOG_LEVEL       trace, debug, info, notice, warning, error or critical; default info

        Processes get these too, except DATABASE_URL and every other variable whose name ends in _DATABASE_URL: such a
        one only where the environment of their job names it.
        """

    let database: PostgresConfiguration
    /// Nil where there is to be no lock.
    let redis: RedisConfiguration?
    let schedule: Schedule
    let executables: String
    let host: String
    let port: Int

    init(_ settings: Settings) throws {
        database = try SchedulerSettings.database(settings)
        let hasRedis = try settings.secret("REDIS_URL", default: "") != ""
        redis = hasRedis ? try RedisConfiguration(url: settings.url("REDIS_URL", schemes: ["redis", "rediss"])) : nil
        schedule = try SchedulerSettings.schedule(settings)
        executables = try settings.string("BIN_DIR", default: SchedulerSettings.ownFolder())
        host = try settings.string("LISTEN_HOST", default: "127.0.0.1")
        port = try settings.port("SCHEDULER_PORT", default: 8082)
    }

    static func database(_ settings: Settings) throws -> PostgresConfiguration {
        try PostgresConfiguration(
            url: settings.url("DATABASE_URL", schemes: ["postgres", "postgresql"]),
            applicationName: "scheduler"
        )
    }

    /// What the processes of a job get of `own`, and what the job sets for them.
    ///
    /// The URLs of databases carry the passwords of roles: a job gets those alone that it names.
    static func environment(
        of job: Job,
        from own: [String: String]
    ) throws(SettingsError) -> [String: String] {
        var environment = own.filter { $0.key != "DATABASE_URL" && !$0.key.hasSuffix("_DATABASE_URL") }
        for (name, value) in job.environment.sorted(by: { $0.key < $1.key }) {
            guard value.hasPrefix("$") else {
                environment[name] = value
                continue
            }
            guard let text = own[String(value.dropFirst())], !text.isEmpty else {
                let problem =
                    "job \"\(job.name)\": environment.\(name) is \"\(value)\", which is not set for the scheduler"
                throw SettingsError(key: "SCHEDULE_FILE", problem: "needs more: \(problem)")
            }
            environment[name] = text
        }
        return environment
    }

    /// The schedule alone, which needs no server.
    static func schedule(_ settings: Settings) throws -> Schedule {
        let path = try settings.string("SCHEDULE_FILE", default: "ops/schedule.toml")
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw SettingsError(key: "SCHEDULE_FILE", problem: "is '\(path)': there is no text file to be read")
        }
        do {
            return try Schedule(toml: text)
        } catch {
            throw SettingsError(key: "SCHEDULE_FILE", problem: "is '\(path)': \(error)")
        }
    }

    private static func ownFolder() throws -> String {
        let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(filePath: executable).deletingLastPathComponent().path
    }
}
