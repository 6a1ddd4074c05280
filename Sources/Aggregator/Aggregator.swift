import ArgumentParser
import Foundation
import Logging
import OrderDomain
import Postgres
import Redis
import ServiceRuntime

/// `aggregator`: counts the sales of three days and publishes the ranking.
@main
struct Aggregator: AsyncParsableCommand {
    static let environment = """
        Environment:
          DATABASE_URL             postgres://user:password@host:port/database; required
          AGGREGATOR_DATABASE_URL  where set, taken instead of DATABASE_URL: runs that the scheduler starts have a \
        role of their own
          REDIS_URL                redis://:password@host:port/number; required by run, follow and rebuild
          AGGREGATION_WINDOW       rolling, minute or calendar, where --window is not given; default rolling
        """

    static let windows = """
        The window is three days long and ends now. With `rolling` it begins 72 hours before the full hour, with \
        `minute` 72 hours before its end, exactly, and with `calendar` with the day before yesterday in Seoul.
        """

    static let configuration = CommandConfiguration(
        commandName: "aggregator",
        abstract: "Counts the sales of the last three days and publishes the ranking of products.",
        discussion: environment,
        subcommands: [Run.self, Follow.self, Rebuild.self, Verify.self, Runs.self, Health.self]
    )

    /// How long a run, a rebuild or a verification may take.
    static let countLimit = Duration.seconds(600)

    /// How a command answers.
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case text
        case json
    }

    /// The database as the aggregator's role reaches it.
    static func database(_ settings: Settings) throws -> PostgresConfiguration {
        let own = "AGGREGATOR_DATABASE_URL"
        let hasOwn = try settings.secret(own, default: "") != ""
        return try PostgresConfiguration(
            url: settings.url(hasOwn ? own : "DATABASE_URL", schemes: ["postgres", "postgresql"]),
            applicationName: "aggregator"
        )
    }

    static func redis(_ settings: Settings) throws -> RedisConfiguration {
        try RedisConfiguration(url: settings.url("REDIS_URL", schemes: ["redis", "rediss"]))
    }

    /// What the command line says, or else the environment.
    static func window(_ option: RankingWindow.Mode?, _ settings: Settings) throws -> RankingWindow.Mode {
        try option ?? settings.choice("AGGREGATION_WINDOW", default: .rolling)
    }
}

extension RankingWindow.Mode: ExpressibleByArgument {}
