import ArgumentParser
import Postgres
import ServiceRuntime

/// `aggregator`: counts the sales of three days and publishes the ranking.
@main
struct Aggregator: AsyncParsableCommand {
    static let environment = """
        Environment:
          DATABASE_URL             postgres://user:password@host:port/database; required
          AGGREGATOR_DATABASE_URL  where set, taken instead of DATABASE_URL: runs that the scheduler starts have a \
        role of their own
          REDIS_URL                redis://:password@host:port/number; required by run
        """

    static let configuration = CommandConfiguration(
        commandName: "aggregator",
        abstract: "Counts the sales of the last three days and publishes the ranking of products.",
        discussion: environment,
        subcommands: [Run.self, Runs.self]
    )

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
}
