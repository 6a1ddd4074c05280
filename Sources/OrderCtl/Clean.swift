import ArgumentParser
import FoundationEssentials
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

/// `orderctl clean`
struct Clean: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Remove rows that nobody asks for any more, a few thousand at a time.",
        discussion: """
            Idempotency keys after 25 hours; runs of jobs, runs of the aggregator, deliveries and failed attempts \
            after 30 days. The last run of each job and the newest runs of the aggregator stay. May be stopped at \
            any time and said again.

            \(OrderCtl.environment)
            """
    )

    private static let limit = Duration.seconds(1_800)

    @Option(help: "text or json.")
    var format = OrderCtl.Format.text

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            let now = Date.now
            let deadline = ContinuousClock.now + Clean.limit
            let connection = try await PostgresConnection.connect(ownerDatabase(settings), deadline: deadline)
            var rows: [Row] = []
            for target in CleanUp.Target.allCases {
                let removed = try await CleanUp.remove(target, at: now, on: connection, deadline: deadline)
                rows.append(Row(rows: target.rawValue, olderThanHours: target.hoursKept, removed: removed))
            }
            await connection.close()
            switch format {
            case .text: for row in rows { print(row.line) }
            case .json: print(try encoded(rows))
            }
        }
    }

    private struct Row: Encodable {
        let rows: String
        let olderThanHours: Int
        let removed: Int

        var line: String {
            let name = rows + String(repeating: " ", count: max(0, 18 - rows.count))
            let age = olderThanHours % 24 == 0 ? "\(olderThanHours / 24) days " : "\(olderThanHours) hours"
            let number = String(removed)
            return "\(name)older than \(age)" + String(repeating: " ", count: max(0, 10 - number.count))
                + "\(number) removed"
        }
    }
}
