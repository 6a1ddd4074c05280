import ArgumentParser
import Foundation
import Logging
import OrderDomain
import OrderStore
import Postgres
import RankingBoard
import Redis
import ServiceRuntime

extension AggregationRun.Trigger: ExpressibleByArgument {}

/// `aggregator run`
struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Count the window anew, save the ranking, and publish it to Redis.",
        discussion: """
            While another run is going nothing is done and the exit code is 75. When Redis cannot be reached the run \
            is kept, a line on standard error says so, and the exit code is 69: the ranking is served from \
            PostgreSQL until a later run is published.

            \(Aggregator.environment)
            """
    )

    /// How long counting may take.
    private static let countLimit = Duration.seconds(60)
    /// How long Redis, and then the note in the database, may take.
    private static let publishLimit = Duration.seconds(5)

    @Option(
        help: ArgumentHelp("The end of the window, in RFC 3339; now if not given.", valueName: "time"),
        transform: parseTime
    )
    var at: Date?

    @Option(help: "Who asks: manual or schedule.")
    var trigger = AggregationRun.Trigger.manual

    @Option(help: "text or json.")
    var format = Aggregator.Format.text

    func run() async throws {
        await ServiceProcess.main("aggregator") { settings, _ in
            let database = try Aggregator.database(settings)
            let redis = try RedisConfiguration(url: settings.url("REDIS_URL", schemes: ["redis"]))
            let report = try await aggregate(database: database, redis: redis)
            try report.print(as: format)
            if let problem = report.problem {
                throw ProcessFailure(problem, exitCode: ServiceRuntime.ExitCode.unavailable)
            }
        }
    }

    private func aggregate(database: PostgresConfiguration, redis: RedisConfiguration) async throws -> RunReport {
        let start = ContinuousClock.now
        let deadline = start + Run.countLimit
        let connection = try await PostgresConnection.connect(database, deadline: deadline)
        let result: (run: AggregationRun, lists: [Ranking: [RankedProduct]])
        do {
            result = try await RankingStore.run(
                at: at ?? Date().wholeMilliseconds,
                trigger: trigger,
                on: connection,
                deadline: deadline
            )
        } catch is RankingStore.AlreadyRunning {
            throw ProcessFailure(
                "another run is going on; nothing was done, try again when it has ended",
                exitCode: ExitCode.temporaryFailure
            )
        }
        let duration = ContinuousClock.now - start
        let publication = await publish(result.run, lists: result.lists, to: redis)
        if publication == .published {
            try await RankingStore.markPublished(
                result.run.id,
                at: .now,
                on: connection,
                deadline: .now + Run.publishLimit
            )
        }
        await connection.close()
        return RunReport(run: result.run, trigger: trigger, duration: duration, publication: publication)
    }

    private func publish(
        _ run: AggregationRun,
        lists: [Ranking: [RankedProduct]],
        to configuration: RedisConfiguration
    ) async -> RunReport.Publication {
        // What goes wrong is said in the answer; log lines would get between the lines of that.
        let logger = Logger(label: "redis") { _ in SwiftLogNoOpLogHandler() }
        let redis = RedisClient(configuration: configuration, logger: logger)
        let publication: RunReport.Publication
        do {
            let isCurrent = try await RankingBoard(redis)
                .publish(run, lists: lists, deadline: .now + Run.publishLimit)
            publication = isCurrent ? .published : .superseded
        } catch {
            publication = .failed("\(error)")
        }
        await redis.close()
        return publication
    }
}

/// Reads a time in RFC 3339, such as `2026-01-31T09:05:00Z` or `2026-01-31T18:05:00.250+09:00`.
private func parseTime(_ text: String) throws -> Date {
    let withFraction = Date.ISO8601FormatStyle(timeZoneSeparator: .colon, includingFractionalSeconds: true)
    let whole = Date.ISO8601FormatStyle(timeZoneSeparator: .colon)
    guard let date = (try? withFraction.parse(text)) ?? (try? whole.parse(text)) else {
        throw ValidationError("'\(text)' is no time in RFC 3339; write it as in 2026-01-31T09:05:00Z")
    }
    return date.wholeMilliseconds
}
