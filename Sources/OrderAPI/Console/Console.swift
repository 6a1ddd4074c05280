import AMQP
import Hummingbird
import Logging
import Operations
import Postgres
import ServiceLifecycle
import ServiceRuntime

/// The operator's console: a page, and what it asks for, on a port of its own.
struct Console {
    /// Connections to PostgreSQL, beside those of the API: it is to see what goes on also when all of those are in use.
    private static let connections = 2

    private let pool: PostgresPool
    private let inspector: AMQPInspector
    private let sampler: ConsoleSampler
    private let http: ConsolePort

    /// Wires it; nothing is connected to before the services run.
    init(
        _ settings: ConsoleSettings,
        database: PostgresConfiguration,
        broker: AMQPConfiguration,
        popular: PopularProducts,
        orders: CommitMetrics,
        logger: Logger
    ) {
        pool = PostgresPool(configuration: database, maximumConnections: Self.connections, logger: logger)
        inspector = AMQPInspector(configuration: broker, logger: logger)
        sampler = ConsoleSampler(
            ConsoleSampler.Sources(
                pool: pool,
                inspector: inspector,
                consumer: settings.consumer,
                scheduler: settings.scheduler,
                mockPlatform: settings.mockPlatform,
                popular: popular,
                orders: orders
            )
        )
        let access = OperatorAccess(token: settings.token, port: settings.port)
        let routes = ConsoleRoutes(
            access: access,
            sampler: sampler,
            deadLetters: DeadLetterDesk(
                broker: broker,
                database: database,
                consumer: settings.consumer,
                logger: logger
            ),
            pool: pool,
            mockPlatform: settings.mockPlatform
        )
        let server = makeHTTPServer(
            router: Self.router(access: access, routes: routes, pool: pool, host: settings.host),
            host: settings.host,
            port: settings.port,
            name: "order-api-console",
            logger: logger
        )
        http = ConsolePort(server: server, logger: logger)
        if settings.host != "127.0.0.1", settings.host != "::1", settings.host != "localhost" {
            logger.warning(
                "the console can be reached from other machines, without TLS",
                metadata: ["host": "\(settings.host)"]
            )
        }
    }

    /// Everything that the operator's port serves.
    static func router(
        access: OperatorAccess,
        routes: ConsoleRoutes,
        pool: PostgresPool,
        host: String
    ) -> Router<APIContext> {
        let router = Router(context: APIContext.self, options: .autoGenerateHeadEndpoints)
        router.addMiddleware {
            RequestIdentity()
            ConsoleHeaders()
            Problems(pool: pool)
            KnownHosts(listeningOn: host)
        }
        ConsolePages(access: access).add(to: router)
        routes.add(to: router.group("/console/api").add(middleware: OperatorGuard(access: access)))
        router.refuseOtherMethods()
        return router
    }

    /// The sampler first: it may go on while requests are answered.
    var services: [any Service] { [sampler, http] }

    func close() async {
        await pool.close()
        await inspector.close(deadline: .now + .seconds(1))
    }
}

/// The console's port, without which orders go on: when it cannot be listened on, that is said, and no more.
private struct ConsolePort: Service, CustomStringConvertible {
    let server: any Service
    let logger: Logger

    var description: String { "console-http" }

    func run() async throws {
        do {
            try await server.run()
        } catch let failure as ProcessFailure {
            logger.error("there is no console; orders go on", metadata: ["error": "\(failure)"])
            // A service that ends would end the process.
            try? await gracefulShutdown()
        }
    }
}
