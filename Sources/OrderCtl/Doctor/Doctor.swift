import AMQP
import ArgumentParser
import Foundation
import Operations
import OrderMessages
import Postgres
import ServiceRuntime

/// `orderctl doctor`
struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Examine the servers and services that Jumun stands on, and say what to do where something is wrong.",
        discussion: """
            Changes nothing. Exits with 1 when a check fails; a warning, or what could not be looked at, is no failure.

            \(OrderCtl.environment)
              REDIS_URL       redis://:password@host:port/database; its check is left out when not set
              PLATFORM_URL    http://host:port of the data platform; its check is left out when not set
              RABBITMQ_MANAGEMENT_URL
                              http://user:password@host:port of RabbitMQ's management plugin; without it bindings and
                              alarms cannot be looked at
            """
    )

    @Option(help: "text or json.")
    var format = OrderCtl.Format.text

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            let (database, broker) = (try DatabaseExamination(settings), try BrokerExamination(settings))
            let services = try ServiceExamination(settings)
            let lag = try await ConsumerClient(settings).reading()
            let isHeldBack = (try? lag.get().circuit).map { $0 != "closed" } ?? false
            var findings = await database.findings()
            findings += await broker.findings(isHeldBack: isHeldBack)
            findings += await services.findings(lag: lag)
            switch format {
            case .text: print(Finding.text(findings))
            case .json: print(try encoded(JSON(findings)))
            }
            let failed = findings.count { $0.verdict == .fail }
            if failed > 0 { throw ProcessFailure("\(failed) of \(findings.count) checks failed") }
        }
    }

    private struct JSON: Encodable {
        let healthy: Bool
        let checks: [Finding]

        init(_ findings: [Finding]) {
            healthy = !findings.contains { $0.verdict == .fail }
            checks = findings
        }
    }
}
