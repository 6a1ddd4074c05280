import AMQP
import ArgumentParser
import Logging
import Postgres
import ServiceRuntime

/// `orderctl`: what an operator does by hand.
@main
struct OrderCtl: AsyncParsableCommand {
    static let environment = """
        Environment:
          DATABASE_URL    postgres://user:password@host:port/database of the schema's owner (audit: of a role that
                          may read every table, such as jumun_audit; clean: jumun_cleaner does); required, except
                          by dlq list, show, export and purge
          MIGRATIONS_DIR  folder of the migrations; default sql/migrations
          AMQP_URL        amqp://user:password@host:port/vhost; required by dlq, lag and doctor
          CONSUMER_URL    http://host:port of the consumer; default http://127.0.0.1:8081
          LOG_LEVEL       trace, debug, info, notice, warning, error or critical; default info
        """

    static let configuration = CommandConfiguration(
        commandName: "orderctl",
        abstract: "Operates Jumun: its schema and data, its invariants, and the delivery of its events.",
        discussion: environment,
        subcommands: [
            Migrate.self, Seed.self, Audit.self, Clean.self, FreezeLedger.self, Import.self, Replay.self, DLQ.self,
            Parked.self, Trace.self, Lag.self, Doctor.self,
        ]
    )

    /// How a command answers.
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case text
        case json
    }

    /// The message broker.
    static func broker(_ settings: Settings) throws -> AMQPConfiguration {
        try AMQPConfiguration(url: settings.url("AMQP_URL", schemes: ["amqp", "amqps"]), connectionName: "orderctl")
    }

    /// The clients' logger: what they meet reaches the operator as the command's own error.
    static let silence = Logger(label: "orderctl") { _ in SwiftLogNoOpLogHandler() }
}

/// The database as the schema's owner reaches it.
func ownerDatabase(_ settings: Settings) throws -> PostgresConfiguration {
    try PostgresConfiguration(
        url: settings.url("DATABASE_URL", schemes: ["postgres", "postgresql"]),
        applicationName: "orderctl"
    )
}
