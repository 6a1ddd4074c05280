import AMQP
import ArgumentParser
import Foundation
import Operations
import OrderMessages
import Postgres
import ServiceRuntime

/// `orderctl lag`
struct Lag: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show where events wait on their way to the data platform, how many, and for how long.",
        discussion: """
            Status: ok; warn, what waits does not grow less; stall, requests fail; stop, nothing is delivered.
            What is counted by asking the broker and the database is always shown; ages, the rate and the status come \
            from the consumer.

            \(OrderCtl.environment)
            """
    )

    private static let interval = Duration.seconds(1)

    @Flag(help: "Show it again each second, until interrupted.")
    var watch = false

    @Option(help: "text or json (with --watch, an object a line).")
    var format = OrderCtl.Format.text

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            let pool = PostgresPool(
                configuration: try ownerDatabase(settings),
                maximumConnections: 1,
                logger: OrderCtl.silence
            )
            let sources = LagSources(
                pool: pool,
                inspector: AMQPInspector(configuration: try OrderCtl.broker(settings), logger: OrderCtl.silence),
                consumer: try ConsumerClient(settings)
            )
            let last = try await StopRequest.during { stop in
                var reading = await sources.read()
                try show(reading)
                while watch, !stop.isRequested {
                    await stop.sleep(Self.interval)
                    if stop.isRequested { break }
                    reading = await sources.read()
                    try show(reading)
                }
                return reading
            }
            await sources.close()
            if !watch, let failure = last.failure { throw failure }
        }
    }

    private func show(_ reading: LagReading) throws {
        Console.write(try text(of: reading), to: STDOUT_FILENO)
    }

    private func text(of reading: LagReading) throws -> String {
        switch format {
        case .json: return try encoded(reading.json) + "\n"
        case .text where watch && Console.isTerminal:
            // Home, the page line by line, and nothing behind it: without a flicker.
            let lines = reading.text.split(separator: "\n", omittingEmptySubsequences: false)
            return "\u{1B}[H" + lines.map { $0 + "\u{1B}[K\n" }.joined() + "\u{1B}[J"
        case .text: return reading.text + (watch ? "\n\n" : "\n")
        }
    }
}
