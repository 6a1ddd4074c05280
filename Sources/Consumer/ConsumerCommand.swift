import AMQP
import ArgumentParser
import AsyncHTTPClient
import EventTopology
import Hummingbird
import Logging
import OpsMetrics
import ServiceRuntime

/// `consumer`: forwards order events from RabbitMQ to the data platform.
@main
struct ConsumerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consumer",
        abstract: "Forwards order events from RabbitMQ to the data platform; what fails is tried again later.",
        discussion: ConsumerSettings.help,
        subcommands: [Run.self]
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
}

private func forward(_ settings: ConsumerSettings, logger: Logger) async throws {
    let configuration = PlatformClient.configuration(connections: settings.concurrency)
    try await HTTPClient.withHTTPClient(configuration: configuration) { http in
        let metrics = MetricsRegistry()
        let consumerMetrics = ConsumerMetrics(metrics)
        let consumer = AMQPConsumer(
            configuration: settings.broker,
            topology: .forwarding,
            queue: BrokerNames.forwardQueue,
            prefetch: settings.concurrency * 2,
            consumerTag: "consumer",
            logger: logger
        )
        let forwarder = Forwarder(
            consumer: consumer,
            publisher: AMQPPublisher(configuration: settings.broker, topology: .forwarding, logger: logger),
            platform: PlatformClient(http: http, base: settings.platformURL, timeout: settings.requestTimeout),
            concurrency: settings.concurrency,
            metrics: consumerMetrics,
            logger: logger
        )
        let depths = QueueDepths(
            inspector: AMQPInspector(configuration: settings.broker, logger: logger),
            metrics: consumerMetrics,
            logger: logger
        )
        let router = Router(context: BasicRequestContext.self)
        OperationsRoutes(metrics: metrics, checks: [.rabbitMQ(consumer)]).add(to: router)
        let server = makeHTTPServer(
            router: router,
            host: settings.host,
            port: settings.port,
            name: "consumer",
            logger: logger
        )
        try await ServiceProcess.run([server, depths, forwarder], logger: logger)
    }
}

extension HealthCheck {
    fileprivate static func rabbitMQ(_ consumer: AMQPConsumer) -> HealthCheck {
        HealthCheck("rabbitmq") {
            if case .disconnected(let error) = consumer.status {
                throw error ?? AMQPError(.connectionLost, "not connected yet")
            }
        }
    }
}
