import ArgumentParser
import Foundation
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import Redis
import ServiceRuntime

/// `aggregator run`
struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take in the sales since the last run, save the ranking, and publish it to Redis.",
        discussion: """
            While another run is going, or when the scheduler has started a later one that is saved already, nothing \
            is done and the exit code is 75. When Redis cannot be reached the run \
            is kept, a line on standard error says so, and the exit code is 69: the ranking is served from \
            PostgreSQL until a later run is published. That a newer run stands in Redis already is no failure, unless \
            this database does not know it.

            \(Aggregator.windows)

            \(Aggregator.environment)
            """
    )

    /// Who may ask for a run on the command line.
    enum Trigger: String, CaseIterable, ExpressibleByArgument {
        case manual
        case schedule
    }

    @Option(
        help: ArgumentHelp("The end of the window, in RFC 3339; now if not given.", valueName: "time"),
        transform: parseTime
    )
    var at: Date?

    @Option(help: "rolling, minute or calendar.")
    var window: RankingWindow.Mode?

    @Option(help: "Who asks: manual or schedule.")
    var trigger = Trigger.manual

    @Option(help: "text or json.")
    var format = Aggregator.Format.text

    func run() async throws {
        await ServiceProcess.main("aggregator") { settings, _ in
            let request = RankingStore.Request(
                at: at,
                mode: try Aggregator.window(window, settings),
                trigger: trigger == .schedule ? .schedule : .manual,
                fence: try settings.fence()
            )
            try await request.carryOut(settings, format: format)
        }
    }
}

extension RankingStore.Request {
    /// Runs, publishes and reports; throws a `ProcessFailure` with the exit code that says what is wrong.
    func carryOut(_ settings: Settings, format: Aggregator.Format) async throws {
        let database = try Aggregator.database(settings)
        let report = try await RankingPublisher.with(Aggregator.redis(settings)) { publisher in
            let start = ContinuousClock.now
            let deadline = start + Aggregator.countLimit
            let connection = try await PostgresConnection.connect(database, deadline: deadline)
            let outcome = try await runOnce(on: connection, in: database, deadline: deadline)
            let duration = ContinuousClock.now - start
            let result = await publisher.publish(outcome, on: connection)
            await connection.close()
            return RunReport(run: outcome.run, duration: duration, result: result)
        }
        try report.print(as: format)
        if let problem = report.result.problem {
            throw ProcessFailure(problem, exitCode: ServiceRuntime.ExitCode.unavailable)
        }
    }

    private func runOnce(
        on connection: PostgresConnection,
        in database: PostgresConfiguration,
        deadline: ContinuousClock.Instant
    ) async throws -> RankingStore.Outcome {
        do {
            return try await RankingStore.run(self, on: connection, in: database, deadline: deadline)
        } catch is RankingStore.AlreadyRunning {
            throw ProcessFailure(
                "another run is going on; nothing was done, try again when it has ended",
                exitCode: ServiceRuntime.ExitCode.temporaryFailure
            )
        } catch is RankingStore.Outdated {
            throw ProcessFailure(
                "a run that was started later has been saved already; nothing was done",
                exitCode: ServiceRuntime.ExitCode.temporaryFailure
            )
        }
    }
}

/// Reads a time in RFC 3339, such as `2026-01-31T09:05:00Z` or `2026-01-31T18:05:00.250+09:00`.
private func parseTime(_ text: String) throws -> Date {
    guard let date = Date(rfc3339: text) else {
        throw ValidationError("'\(text)' is no time in RFC 3339; write it as in 2026-01-31T09:05:00Z")
    }
    return date.wholeMilliseconds
}

extension Settings {
    /// `JUMUN_FENCE`, which the scheduler sets; nil when somebody else starts the run.
    fileprivate func fence() throws -> Int64? {
        guard try string("JUMUN_FENCE", default: "") != "" else { return nil }
        return Int64(try integer("JUMUN_FENCE", in: 1...Int.max))
    }
}
