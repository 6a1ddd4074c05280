import AMQP
import ServiceRuntime

/// What the environment says; read and checked once, at the start.
struct ConsumerSettings {
    static let help = """
        Environment:
          AMQP_URL              amqp://user:password@host:port/vhost; required
          PLATFORM_URL          http://host:port of the data platform; required
          LISTEN_HOST           address to listen on; default 127.0.0.1
          CONSUMER_PORT         port for health and metrics; default 8081
          CONSUMER_CONCURRENCY  requests at once, 1 to 256; default 16
          CONSUMER_REQUEST_TIMEOUT_MS
                                longest request, 1 to 60000 ms; default 2000
          LOG_LEVEL             trace, debug, info, notice, warning, error or
                                critical; default info
        """

    let broker: AMQPConfiguration
    /// Without a slash at its end.
    let platformURL: String
    let host: String
    let port: Int
    let concurrency: Int
    let requestTimeout: Duration

    init(_ settings: Settings) throws {
        broker = try AMQPConfiguration(url: settings.url("AMQP_URL", schemes: ["amqp"]), connectionName: "consumer")
        platformURL = try Self.base(settings.url("PLATFORM_URL", schemes: ["http", "https"]))
        host = try settings.string("LISTEN_HOST", default: "127.0.0.1")
        port = try settings.port("CONSUMER_PORT", default: 8081)
        concurrency = try settings.integer("CONSUMER_CONCURRENCY", default: 16, in: 1...256)
        requestTimeout = try settings.milliseconds("CONSUMER_REQUEST_TIMEOUT_MS", default: 2_000, in: 1...60_000)
    }

    private static func base(_ url: String) throws(SettingsError) -> String {
        guard !url.contains(where: { $0 == "?" || $0 == "#" }) else {
            throw SettingsError(key: "PLATFORM_URL", problem: "has a query or a fragment: expected http://host:port")
        }
        return url.hasSuffix("/") ? String(url.dropLast()) : url
    }
}
