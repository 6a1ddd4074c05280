import AMQP
import ArgumentParser
import EventTopology
import Logging
import OpsMetrics
import Postgres
import Redis
import ServiceLifecycle
import ServiceRuntime

/// `order-api`: takes orders over HTTP, commits them, and relays their events.
@main
struct OrderAPI: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "order-api",
        abstract: "Takes orders over HTTP, commits them with their events, and relays the events to RabbitMQ.",
        discussion: OrderAPISettings.help,
        subcommands: [Serve.self, Health.self]
    )

    struct Serve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Serve until SIGTERM.",
            discussion: OrderAPISettings.help
        )

        func run() async throws {
            await ServiceProcess.main("order-api") { settings, logger in
                try await serve(OrderAPISettings(settings), logger: logger)
            }
        }
    }

    struct Health: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask the process that serves whether it is ready: exits 0 if so, and otherwise 1 with the reason."
        )

        func run() async {
            await ServiceProcess.main("order-api") { settings, _ in
                try await HealthProbe.run(settings, portKey: "API_PORT", defaultPort: 8080)
            }
        }
    }
}

private func serve(_ settings: OrderAPISettings, logger: Logger) async throws {
    let metrics = MetricsRegistry()
    let reads = PostgresPool(configuration: settings.database, maximumConnections: 4, logger: logger)
    // One more than lanes: what became of a lost COMMIT is asked on another connection.
    let commits = PostgresPool(
        configuration: settings.database,
        maximumConnections: settings.commitLanes + 1,
        logger: logger
    )
    let redis = RedisClient(configuration: settings.redis, logger: logger)
    let publisher = AMQPPublisher(configuration: settings.broker, topology: .orderEvents, logger: logger)

    let relayMetrics = RelayMetrics(metrics)
    let relay = OutboxRelay(
        database: settings.database,
        publisher: publisher,
        inspector: AMQPInspector(configuration: settings.broker, logger: logger),
        metrics: relayMetrics,
        logger: logger
    )
    let upkeep = OutboxUpkeep(pool: reads, metrics: relayMetrics, logger: logger)
    let commitMetrics = CommitMetrics(metrics)
    let gate = SoldOutGate()
    let popular = PopularProducts(redis: redis, pool: reads, logger: logger)
    let engine = CommitEngine(
        lanes: settings.commitLanes,
        committer: BatchCommitter(pool: commits, gate: gate, metrics: commitMetrics, logger: logger),
        metrics: commitMetrics,
        onCommit: relay.wake
    )
    let router = makeRouter(
        API(
            users: UserRoutes(pool: reads, engine: engine),
            products: ProductRoutes(pool: reads, gate: gate),
            orders: OrderRoutes(pool: reads, engine: engine),
            popular: PopularRoutes(popular),
            operations: OperationsRoutes(
                metrics: metrics,
                checks: [.postgres(reads), .rabbitMQ(publisher), .redis(redis)],
                drain: settings.drain
            ),
            openAPI: try OpenAPIRoutes(),
            swaggerUI: try SwaggerUIRoutes(folder: settings.swaggerUIFolder)
        ),
        pool: reads,
        metrics: metrics,
        logger: logger
    )
    let http = makeHTTPServer(
        router: router,
        host: settings.host,
        port: settings.port,
        name: "order-api",
        drain: settings.drain,
        logger: logger
    )
    let console = settings.console.map { console in
        Console(
            console,
            database: settings.database,
            broker: settings.broker,
            popular: popular,
            orders: commitMetrics,
            logger: logger
        )
    }
    // Stopped from the last to the first: no new requests, then the batches under way, then their events.
    let services: [any Service] = [relay, upkeep, engine] + (console?.services ?? []) + [http, settings.drain]
    try await ServiceProcess.run(services, logger: logger)
    await console?.close()
    await reads.close()
    await commits.close()
    await redis.close()
}
