import AMQP
import ArgumentParser
import Foundation
import Operations
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

extension DLQ {
    /// `orderctl dlq redrive`
    struct Redrive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send dead letters to the consumer once more.",
            discussion: """
                Each goes to the forward queue as if it had never failed, and leaves the dead letters once the broker \
                has it there. A redrive that was stopped, or killed, goes on when it is said again with its id; what \
                it has sent already is not sent twice. It stops by itself when the consumer's circuit opens. Every \
                redrive is noted in the table redrives.

                \(OrderCtl.environment)
                """
        )

        @Option(help: "The dead letter of this event.")
        var id: String?

        @Option(help: "Those of one group, as `dlq list --group-by fingerprint` shows it.")
        var group: String?

        @Option(help: "Those given up since a time: 2026-01-31T09:05:00Z, or 90s, 15m, 2h, 3d ago.")
        var since: String?

        @Flag(help: "All of them.")
        var all = false

        @Option(help: "How many at most, from 1; the oldest first.")
        var limit: Int?

        @Option(help: "How many a second at most, 1 to 100000; as fast as it goes when not given.")
        var rate: Int?

        @Flag(help: "Only say what would be sent; change nothing.")
        var dryRun = false

        @Option(help: "The redrive's id, 1 to 100 characters; a new one when not given.")
        var redriveID: String?

        @Flag(help: "Go on although the consumer does not answer, so that nobody tells whether its circuit is open.")
        var withoutConsumer = false

        @Option(help: "text or json.")
        var format = OrderCtl.Format.text

        func validate() throws {
            _ = try selection()
            if let limit, limit < 1 { throw ValidationError("--limit must be at least 1") }
            if let rate, !(1...100_000).contains(rate) { throw ValidationError("--rate must be from 1 to 100000") }
            if let redriveID, !(1...100).contains(redriveID.unicodeScalars.count) {
                throw ValidationError("--redrive-id must have 1 to 100 characters")
            }
        }

        private func selection() throws -> DeadLetterSelection {
            var selections: [DeadLetterSelection] = []
            if let id { selections.append(.event(id)) }
            if let group { selections.append(.group(group)) }
            if let since {
                guard let time = OperatorTime.parse(since, now: Date()) else {
                    throw ValidationError(
                        "--since '\(since)' is no time: expected 2026-01-31T09:05:00Z, or 90s, 15m, 2h, 3d ago"
                    )
                }
                selections.append(.since(time))
            }
            if all { selections.append(.all) }
            guard selections.count == 1, let selection = selections.first else {
                throw ValidationError("say which dead letters: one of --id, --group, --since and --all")
            }
            return selection
        }

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let plan = RedriveRun.Plan(
                    id: redriveID ?? UUID.version7().text,
                    selection: try selection(),
                    limit: limit,
                    perSecond: rate,
                    isDryRun: dryRun,
                    requestedBy: NSUserName()
                )
                let broker = try OrderCtl.broker(settings)
                let connection = try await PostgresConnection.connect(
                    ownerDatabase(settings),
                    deadline: .now + .seconds(10)
                )
                let publisher = AMQPPublisher(configuration: broker, topology: AMQPTopology(), logger: OrderCtl.silence)
                let report = try await StopRequest.during { stop in
                    var bar = ProgressBar()
                    return try await RedriveRun(
                        plan,
                        queue: DeadLetterQueue(broker: broker),
                        publisher: publisher,
                        database: connection,
                        circuit: withoutConsumer || dryRun ? nil : CircuitGuard(ConsumerClient(settings)),
                        stop: stop,
                        progress: { bar.show($0) }
                    )
                    .run()
                }
                await publisher.close(deadline: .now + .seconds(1))
                await connection.close()
                switch format {
                case .text: print(report.text)
                case .json: print(try encoded(report.json))
                }
                if let failure = report.failure { throw failure }
            }
        }
    }
}
