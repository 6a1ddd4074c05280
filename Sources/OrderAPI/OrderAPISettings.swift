import AMQP
import Postgres
import Redis
import ServiceRuntime

/// What the environment says; read and checked once, at the start.
struct OrderAPISettings {
    static let help = """
        Environment:
          DATABASE_URL    postgres://user:password@host:port/database; required
          AMQP_URL        amqp://user:password@host:port/vhost; required; amqps:// for TLS
          REDIS_URL       redis://:password@host:port/number; required; rediss:// for TLS
          LISTEN_HOST     address to listen on; default 127.0.0.1
          API_PORT        port to listen on; default 8080
          COMMIT_LANES    batches of orders in flight at once, 1 to 16; default 1
          DRAIN_MS        how long requests are still answered after SIGTERM while the health check says no,
                          0 to 5000 ms; default 0
          SWAGGER_UI_DIR  folder of Swagger UI's files, shown at /docs; without it there is no such page
          LOG_LEVEL       trace, debug, info, notice, warning, error or critical; default info

        Of the operator's console:
        """ + "\n" + ConsoleSettings.help

    let database: PostgresConfiguration
    let broker: AMQPConfiguration
    let redis: RedisConfiguration
    let host: String
    let port: Int
    let commitLanes: Int
    let drain: Drain
    /// Nil when Swagger UI is not installed.
    let swaggerUIFolder: String?
    /// Nil when there is to be no console.
    let console: ConsoleSettings?

    init(_ settings: Settings) throws {
        database = try PostgresConfiguration(
            url: settings.url("DATABASE_URL", schemes: ["postgres", "postgresql"]),
            applicationName: "order-api"
        )
        broker = try AMQPConfiguration(
            url: settings.url("AMQP_URL", schemes: ["amqp", "amqps"]),
            connectionName: "order-api"
        )
        redis = try RedisConfiguration(url: settings.url("REDIS_URL", schemes: ["redis", "rediss"]))
        host = try settings.string("LISTEN_HOST", default: "127.0.0.1")
        port = try settings.port("API_PORT", default: 8080)
        commitLanes = try settings.integer("COMMIT_LANES", default: 1, in: 1...16)
        drain = try Drain(settings)
        let folder = try settings.string("SWAGGER_UI_DIR", default: "")
        swaggerUIFolder = folder.isEmpty ? nil : folder
        console = try ConsoleSettings(settings)
    }
}
