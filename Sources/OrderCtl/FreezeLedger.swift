import ArgumentParser
import Operations
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

/// `orderctl freeze-ledger`
struct FreezeLedger: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "After a dump was restored into another cluster: make its sales known to runs of the ranking.",
        discussion: """
            The ledger's sales have transaction numbers of the cluster that the dump is of. Where they are higher than \
            those of this one, every run of the ranking counts all sales, and none can be verified. This gives such \
            rows a number that is past for everybody, a few thousand at a time; the next run counts everything once \
            more, and those after it what is new.

            Orders are taken meanwhile; runs of the ranking wait. May be stopped at any time and said again; where \
            there is nothing to do, nothing is done.

            \(OrderCtl.environment)
            """
    )

    private static let limit = Duration.seconds(7_200)

    @Option(help: "text or json.")
    var format = OrderCtl.Format.text

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            let deadline = ContinuousClock.now + FreezeLedger.limit
            let connection = try await PostgresConnection.connect(ownerDatabase(settings), deadline: deadline)
            let rows = try await RankingStore.freezeLedger(on: connection, deadline: deadline)
            await connection.close()
            switch format {
            case .text: print(text(rows))
            case .json: print(try encoded(Answer(frozenRows: rows)))
            }
        }
    }

    private func text(_ rows: Int64) -> String {
        rows == 0
            ? "No sale has a transaction number that is still to come in this cluster; nothing was done."
            : "\(grouped(Int(rows))) rows frozen; the next run of the ranking counts everything once more."
    }

    private struct Answer: Encodable {
        let frozenRows: Int64
    }
}
