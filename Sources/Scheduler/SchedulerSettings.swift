import Foundation
import Postgres
import ServiceRuntime

/// What the environment says; read and checked once, at the start.
struct SchedulerSettings {
    static let scheduleHelp = """
        Environment:
          SCHEDULE_FILE   the jobs, in TOML; default ops/schedule.toml
        """

    static let help = """
        Environment:
          DATABASE_URL    postgres://user:password@host:port/database; required
          SCHEDULE_FILE   the jobs, in TOML; default ops/schedule.toml
          BIN_DIR         folder of the executables that jobs start; default the folder of the scheduler itself
          LISTEN_HOST     address to listen on; default 127.0.0.1
          SCHEDULER_PORT  port to listen on; default 8082
          LOG_LEVEL       trace, debug, info, notice, warning, error or critical; default info
        """

    let database: PostgresConfiguration
    let schedule: Schedule
    let executables: String
    let host: String
    let port: Int

    init(_ settings: Settings) throws {
        database = try PostgresConfiguration(
            url: settings.url("DATABASE_URL", schemes: ["postgres", "postgresql"]),
            applicationName: "scheduler"
        )
        schedule = try SchedulerSettings.schedule(settings)
        executables = try settings.string("BIN_DIR", default: SchedulerSettings.ownFolder())
        host = try settings.string("LISTEN_HOST", default: "127.0.0.1")
        port = try settings.port("SCHEDULER_PORT", default: 8082)
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
