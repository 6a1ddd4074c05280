import ArgumentParser
import Foundation
import OrderDomain
import OrderStore
import Postgres
import ServiceRuntime

/// `aggregator rebuild`
struct Rebuild: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Count hours, totals and lists anew from the ledger, several days at once.",
        discussion: """
            Otherwise it is a run like any other: in one transaction, published to Redis, with exit code 75 while \
            another run is going.

            \(Aggregator.windows)

            \(Aggregator.environment)
            """
    )

    @Flag(help: "Show what is kept and not what the ledger says, and change nothing.")
    var dryRun = false

    @Option(help: "rolling, minute or calendar.")
    var window: RankingWindow.Mode?

    @Option(help: "text or json.")
    var format = Aggregator.Format.text

    func run() async throws {
        await ServiceProcess.main("aggregator") { settings, _ in
            if dryRun {
                try await showDifferences(settings)
            } else {
                let mode = try Aggregator.window(window, settings)
                let request = RankingStore.Request(mode: mode, trigger: .rebuild, recounts: true)
                try await request.carryOut(settings, format: format)
            }
        }
    }

    private func showDifferences(_ settings: Settings) async throws {
        let deadline = ContinuousClock.now + Aggregator.countLimit
        let connection = try await PostgresConnection.connect(Aggregator.database(settings), deadline: deadline)
        let verification = try await verification(on: connection, deadline: deadline)
        await connection.close()
        try VerificationReport(verification).print(as: format)
    }
}
