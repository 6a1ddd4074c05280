import ArgumentParser
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
            case .text: printTable(runs)
            case .json: print(try encoded(runs.map(JSON.init)))
            }
        }
    }

    private func printTable(_ runs: [AggregationRun]) {
        let heads = ["RUN", "WINDOW FROM", "WINDOW TO", "ROWS READ", "PRODUCTS TOUCHED"]
        let rows = runs.map { run in
            [
                "\(run.id)", run.windowFrom.rfc3339, run.windowTo.rfc3339, "\(run.rowsRead)",
                "\(run.productsTouched)",
            ]
        }
        let widths = heads.indices.map { column in
            ([heads] + rows).map { $0[column].count }.max() ?? 0
        }
        for row in [heads] + rows {
            let cells = zip(row, widths).map { cell, width in
                String(repeating: " ", count: width - cell.count) + cell
            }
            print(cells.joined(separator: "  "))
        }
    }

    private struct JSON: Encodable {
        let run: Int64
        let asOf: String
        let windowFrom: String
        let windowTo: String
        let rowsRead: Int64
        let productsTouched: Int64

        init(_ run: AggregationRun) {
            self.run = run.id
            asOf = run.asOf.rfc3339
            windowFrom = run.windowFrom.rfc3339
            windowTo = run.windowTo.rfc3339
            rowsRead = run.rowsRead
            productsTouched = run.productsTouched
        }
    }
}
