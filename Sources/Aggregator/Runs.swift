import ArgumentParser
import Foundation
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

/// `aggregator runs`
struct Runs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the last runs, newest first.",
        discussion: Aggregator.environment
    )

    @Option(help: "How many runs, 1 to 1000.")
    var limit = 20

    @Option(help: "text or json.")
    var format = Aggregator.Format.text

    func validate() throws {
        guard (1...1_000).contains(limit) else { throw ValidationError("--limit must be from 1 to 1000") }
    }

    func run() async throws {
        await ServiceProcess.main("aggregator") { settings, _ in
            let deadline = ContinuousClock.now + .seconds(10)
            let connection = try await PostgresConnection.connect(Aggregator.database(settings), deadline: deadline)
            let runs = try await RankingStore.runs(limit: limit, on: connection, deadline: deadline)
            await connection.close()
            switch format {
            case .text: print(text(runs))
            case .json: print(try encoded(runs.map(JSON.init)))
            }
        }
    }

    private func text(_ runs: [AggregationRun]) -> String {
        guard !runs.isEmpty else { return "There was no run yet. `aggregator run` makes the first." }
        var table = TextTable([
            ("RUN", .right), ("TRIGGER", .left), ("RESULT", .left), ("ROWS READ", .right), ("PRODUCTS TOUCHED", .right),
            ("DURATION", .right), ("WINDOW", .left), ("FROM", .left), ("TO", .left), ("VERIFIED", .left),
        ])
        for run in runs {
            table.add([
                "\(run.version.run)", run.trigger.rawValue, run.result, "\(run.rowsRead)", "\(run.productsTouched)",
                "\(run.durationMs) ms", run.window.mode.rawValue, run.window.from.rfc3339, run.window.to.rfc3339,
                run.mismatches.map { $0 == 0 ? "right" : "\($0) wrong" } ?? "",
            ])
        }
        return table.text
    }

    private struct JSON: Encodable {
        let run: Int64
        let trigger: String
        let result: String
        let rowsRead: Int64
        let productsTouched: Int64
        let startedAt: String
        let durationMs: Int
        let windowMode: String
        let windowFrom: String
        let windowTo: String
        let asOf: String
        let mismatches: Int64?

        init(_ run: AggregationRun) {
            self.run = run.version.run
            trigger = run.trigger.rawValue
            result = run.result
            rowsRead = run.rowsRead
            productsTouched = run.productsTouched
            startedAt = run.startedAt.rfc3339
            durationMs = run.durationMs
            windowMode = run.window.mode.rawValue
            windowFrom = run.window.from.rfc3339
            windowTo = run.window.to.rfc3339
            asOf = run.window.to.rfc3339
            mismatches = run.mismatches
        }
    }
}

extension AggregationRun {
    /// What became of it, as a word.
    fileprivate var result: String {
        switch publication {
        case .published: "published"
        case .superseded: "superseded"
        case .failed, nil: "unpublished"
        }
    }

    fileprivate var durationMs: Int { Int((finishedAt.timeIntervalSince(startedAt) * 1_000).rounded()) }
}
