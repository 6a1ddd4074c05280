import AMQP
import Postgres
import ServiceRuntime
import WebhookSignature

/// What the environment says; read and checked once, at the start.
struct ConsumerSettings {
    static let help = """
        Environment:
          DATABASE_URL            postgres://user:password@host:port/database; required
          AMQP_URL                amqp://user:password@host:port/vhost; required
          PLATFORM_URL            http://host:port of the data platform; required
          PLATFORM_SIGNING_KEYS   whsec_… and base64, one or, during a rotation, two with a
                                  space between; without it requests are not signed
          LISTEN_HOST             address to listen on; default 127.0.0.1
          CONSUMER_PORT           port for health, metrics and lag; default 8081
          CONSUMER_BATCH_SIZE     events in a request, 1 to 500; default 100; with 1 each is
                                  sent alone, as application/cloudevents+json
          CONSUMER_BATCH_WAIT_MS  how long a batch waits for more events, 0 to 1000 ms;
                                  default 5
          CONSUMER_CONCURRENCY    requests at once, 1 to 256; default 4
          CONSUMER_PREFETCH       events in hand, 1 to 2000; default twice what the requests
                                  under way carry: 2 x concurrency x batch size
          CONSUMER_ORDERING       none, or key: events of one order arrive in their order;
                                  default none
          CONSUMER_REQUEST_TIMEOUT_MS
                                  longest request, 1 to 60000 ms; default 2000
          CONSUMER_LAG_SAMPLE_MS  how often the lag's status takes one of its 10 samples,
                                  100 to 60000 ms; default 3000
          LOG_LEVEL               trace, debug, info, notice, warning, error or critical;
                                  default info

        Events a second are at most concurrency x batch size / the time of a request: with the
        defaults and 50 ms, 8,000. Memory for events in hand is prefetch x their size: with the
        defaults and 2 kB, 1.6 MB.
        """

    /// Beyond this a quorum queue gains nothing.
    private static let maximumPrefetch = 2_000

    let database: PostgresConfiguration
    let broker: AMQPConfiguration
    /// Without a slash at its end.
    let platformURL: String
    /// Nil when requests are not signed.
    let signingKeys: SigningKeys?
    let host: String
    let port: Int
    let limits: SessionLimits
    let ordering: Ordering
    let requestTimeout: Duration
    let lagSampleInterval: Duration

    /// Reads and checks all of them.
    init(_ settings: Settings) throws {
        database = try PostgresConfiguration(
            url: settings.url("DATABASE_URL", schemes: ["postgres", "postgresql"]),
            applicationName: "consumer"
        )
        broker = try AMQPConfiguration(
            url: settings.url("AMQP_URL", schemes: ["amqp", "amqps"]),
            connectionName: "consumer"
        )
        platformURL = try Self.base(settings.url("PLATFORM_URL", schemes: ["http", "https"]))
        signingKeys = try Self.keys(settings.secret("PLATFORM_SIGNING_KEYS", default: ""))
        host = try settings.string("LISTEN_HOST", default: "127.0.0.1")
        port = try settings.port("CONSUMER_PORT", default: 8081)
        let batchSize = try settings.integer("CONSUMER_BATCH_SIZE", default: 100, in: 1...500)
        let requests = try settings.integer("CONSUMER_CONCURRENCY", default: 4, in: 1...256)
        limits = SessionLimits(
            prefetch: try settings.integer(
                "CONSUMER_PREFETCH",
                default: min(2 * requests * batchSize, Self.maximumPrefetch),
                in: 1...Self.maximumPrefetch
            ),
            batchSize: batchSize,
            batchWait: try settings.milliseconds("CONSUMER_BATCH_WAIT_MS", default: 5, in: 0...1_000),
            requests: requests
        )
        ordering = try settings.choice("CONSUMER_ORDERING", default: Ordering.none)
        requestTimeout = try settings.milliseconds("CONSUMER_REQUEST_TIMEOUT_MS", default: 2_000, in: 1...60_000)
        lagSampleInterval = try settings.milliseconds("CONSUMER_LAG_SAMPLE_MS", default: 3_000, in: 100...60_000)
    }

    private static func base(_ url: String) throws(SettingsError) -> String {
        guard !url.contains(where: { $0 == "?" || $0 == "#" }) else {
            throw SettingsError(key: "PLATFORM_URL", problem: "has a query or a fragment: expected http://host:port")
        }
        return url.hasSuffix("/") ? String(url.dropLast()) : url
    }

    private static func keys(_ text: String) throws(SettingsError) -> SigningKeys? {
        guard !text.isEmpty else { return nil }
        do throws(SigningKeys.Malformed) {
            return try SigningKeys(text)
        } catch {
            throw SettingsError(key: "PLATFORM_SIGNING_KEYS", problem: error.description)
        }
    }
}
