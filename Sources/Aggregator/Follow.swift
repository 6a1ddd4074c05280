import ArgumentParser
import Hummingbird
import Logging
import OpsMetrics
import OrderDomain
import Postgres
import RankingBoard
import Redis
import ServiceRuntime

/// `aggregator follow`
struct Follow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run again and again until SIGTERM, so that a sale is in the ranking at once.",
        discussion: """
            Looks every second, and runs when there is something new, when the window has moved on by an hour, and at \
            least once a minute; other times leave no run behind. A ranking that Redis has lost is published again. \
            May stand beside runs of the scheduler: there is one run at a time.

            \(Aggregator.windows)

            \(Aggregator.environment)
              LISTEN_HOST              address to listen on for health and metrics; default 127.0.0.1
              AGGREGATOR_PORT          port to listen on; default 8084
              LOG_LEVEL                trace, debug, info, notice, warning, error or critical; default info
            """
    )

    @Option(
        help: ArgumentHelp("How often to look: such as 1s, 250ms or 2m; 100ms to 1h.", valueName: "duration"),
        transform: parseDuration
    )
    var every = Duration.seconds(1)

    @Option(help: "rolling, minute or calendar.")
    var window: RankingWindow.Mode?

    func run() async throws {
        await ServiceProcess.main("aggregator") { settings, logger in
            try await follow(settings, logger: logger)
        }
    }

    private func follow(_ settings: Settings, logger: Logger) async throws {
        let database = try Aggregator.database(settings)
        let redis = RedisClient(configuration: try Aggregator.redis(settings), logger: logger)
        let registry = MetricsRegistry()
        let follower = Follower(
            mode: try Aggregator.window(window, settings),
            every: every,
            database: database,
            board: RankingBoard(redis),
            metrics: AggregationMetrics(registry),
            logger: logger
        )
        // For the health check alone: a run must not be in its way.
        let pool = PostgresPool(configuration: database, maximumConnections: 1, logger: logger)
        let router = Router()
        router.add(middleware: HTTPMetricsMiddleware(metrics: registry))
        OperationsRoutes(
            metrics: registry,
            checks: [
                HealthCheck("postgres") { try await pool.ping(deadline: .now + .seconds(1)) },
                HealthCheck("redis") { try await redis.ping(deadline: .now + .seconds(1)) },
            ]
        ).add(to: router)
        let http = makeHTTPServer(
            router: router,
            host: try settings.string("LISTEN_HOST", default: "127.0.0.1"),
            port: try settings.port("AGGREGATOR_PORT", default: 8084),
            name: "aggregator",
            logger: logger
        )
        try await ServiceProcess.run([http, follower], logger: logger)
        await pool.close()
        await redis.close()
    }
}

/// Reads a duration such as `250ms`, `1s` or `2m`.
private func parseDuration(_ text: String) throws -> Duration {
    let units: [(suffix: String, unit: Duration)] = [
        ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)), ("h", .seconds(3_600)),
    ]
    for (suffix, unit) in units where text.hasSuffix(suffix) {
        if let count = Int(text.dropLast(suffix.count)), (1...3_600_000).contains(count) {
            let duration = unit * count
            if duration >= .milliseconds(100), duration <= .seconds(3_600) { return duration }
        }
        break
    }
    throw ValidationError("'\(text)' is no duration from 100ms to 1h; write it as in 1s, 250ms or 2m")
}
