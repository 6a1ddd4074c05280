import AMQP
import ArgumentParser
import AsyncHTTPClient
import EventTopology
import Hummingbird
import Logging
import OpsMetrics
import OrderStore
import Postgres
import ServiceRuntime

/// `consumer`: forwards order events from RabbitMQ to the data platform.
@main
struct ConsumerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consumer",
        abstract: "Forwards order events from RabbitMQ to the data platform; what fails is tried again later.",
        discussion: ConsumerSettings.help,
        subcommands: [Run.self, Health.self]
    )

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forward until SIGTERM.",
            discussion: ConsumerSettings.help
        )

        func run() async {
            await ServiceProcess.main("consumer") { settings, logger in
                try await forward(ConsumerSettings(settings), logger: logger)
            }
        }
    }

    struct Health: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Ask the process that forwards whether it is ready: exits 0 if so, and otherwise 1 with the reason."
        )

        func run() async {
            await ServiceProcess.main("consumer") { settings, _ in
                try await HealthProbe.run(settings, portKey: "CONSUMER_PORT", defaultPort: 8081)
            }
        }
    }
}

/// The role `jumun_consumer` may have 5 connections: two processes, one of which replaces the other, fit.
private let databaseConnections = 2

private func forward(_ settings: ConsumerSettings, logger: Logger) async throws {
    if settings.signingKeys == nil {
        logger.warning("requests to the platform are not signed: PLATFORM_SIGNING_KEYS is not set")
    }
    let configuration = PlatformClient.configuration(connections: settings.limits.requests)
    try await HTTPClient.withHTTPClient(configuration: configuration) { http in
        let pool = PostgresPool(
            configuration: settings.database,
            maximumConnections: databaseConnections,
            logger: logger
        )
        let registry = MetricsRegistry()
        let circuit = Circuit(maximumRequests: settings.limits.requests, logger: logger)
        let metrics = ConsumerMetrics(registry, circuit: circuit)
        let (intake, progress) = (Intake(), Progress())
        let inspector = AMQPInspector(configuration: settings.broker, logger: logger)
        let forwarder = Forwarder(
            broker: settings.broker,
            publisher: AMQPPublisher(configuration: settings.broker, topology: .forwarding, logger: logger),
            platform: PlatformClient(
                http: http,
                base: settings.platformURL,
                form: settings.limits.batchSize == 1 ? .single : .batch,
                keys: settings.signingKeys,
                timeout: settings.requestTimeout
            ),
            inbox: Inbox(store: DeliveryStore(pool), pool: pool, logger: logger),
            circuit: circuit,
            intake: intake,
            inFlight: InFlight(),
            limits: settings.limits,
            ordering: settings.ordering,
            metrics: metrics,
            progress: progress,
            logger: logger
        )
        let monitor = LagMonitor(
            inspector: inspector,
            pool: pool,
            intake: intake,
            circuit: circuit,
            progress: progress,
            metrics: metrics,
            sampleInterval: settings.lagSampleInterval,
            logger: logger
        )
        let router = Router(context: BasicRequestContext.self)
        OperationsRoutes(metrics: registry, checks: [.rabbitMQ(intake, inspector), .postgres(pool)]).add(to: router)
        LagRoute(monitor: monitor).add(to: router)
        let server = makeHTTPServer(
            router: router,
            host: settings.host,
            port: settings.port,
            name: "consumer",
            logger: logger
        )
        try await ServiceProcess.run([server, monitor, forwarder], logger: logger)
        await pool.close()
    }
}
