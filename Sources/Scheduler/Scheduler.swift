import ArgumentParser
import Foundation
import Hummingbird
import Logging
import OpsMetrics
import OrderStore
import Postgres
import Redis
import ServiceRuntime

/// `scheduler`: starts jobs at their times.
@main
struct Scheduler: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scheduler",
        abstract: "Starts jobs at the times that a schedule tells, each time once.",
        discussion: SchedulerSettings.help,
        subcommands: [Run.self, List.self, Next.self, History.self, Health.self]
    )

    /// How a command answers.
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case text
        case json
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the jobs until SIGTERM.",
            discussion: SchedulerSettings.help
        )

        func run() async throws {
            await ServiceProcess.main("scheduler") { settings, logger in
                try await runJobs(SchedulerSettings(settings), logger: logger)
            }
        }
    }

    struct Health: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask the process that runs jobs whether it is ready: exits 0 if so, otherwise 1 with the reason."
        )

        func run() async {
            await ServiceProcess.main("scheduler") { settings, _ in
                try await HealthProbe.run(settings, portKey: "SCHEDULER_PORT", defaultPort: 8082)
            }
        }
    }
}

private func runJobs(_ settings: SchedulerSettings, logger: Logger) async throws {
    let registry = MetricsRegistry()
    let pool = PostgresPool(configuration: settings.database, maximumConnections: 4, logger: logger)
    let postgres = HealthCheck("postgres", isEssential: true) {
        try await pool.ping(deadline: .now + .seconds(1))
    }
    let router = Router()
    router.add(middleware: HTTPMetricsMiddleware(metrics: registry))
    OperationsRoutes(metrics: registry, checks: [postgres]).add(to: router)
    let http = makeHTTPServer(
        router: router,
        host: settings.host,
        port: settings.port,
        name: "scheduler",
        logger: logger
    )
    let store = JobRunStore(pool)
    let jobs = try makeJobs(settings, store: store, metrics: JobMetrics(registry), logger: logger)
    let records = JobRecords(
        jobs: settings.schedule.jobs.map(\.name),
        store: store,
        metrics: JobRecordMetrics(registry),
        logger: logger
    )
    let rankingRuns = RankingRuns(pool: pool, metrics: RankingMetrics(registry), logger: logger)
    // Stopped from the last to the first: the jobs, then what tells of them.
    try await ServiceProcess.run([http, rankingRuns, records, jobs], logger: logger)
    await pool.close()
}

private func makeJobs(
    _ settings: SchedulerSettings,
    store: JobRunStore,
    metrics: JobMetrics,
    logger: Logger
) throws -> JobService {
    let owner = UUID()
    let lostRuns = LostRuns(store: store, metrics: metrics, logger: logger)
    let lock = settings.redis.map { redis in
        JobLock(RedisClient(configuration: redis, logger: logger), logger: logger)
    }
    let loops = try settings.schedule.jobs.map { job in
        JobLoop(
            job: job,
            owner: owner,
            store: store,
            lostRuns: lostRuns,
            lock: lock,
            executables: settings.executables,
            environment: try SchedulerSettings.environment(of: job, from: ProcessInfo.processInfo.environment),
            metrics: metrics,
            logger: logger,
            createdAt: .now
        )
    }
    return JobService(loops: loops, lostRuns: lostRuns)
}
