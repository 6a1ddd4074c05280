import ArgumentParser
import OrderMessages
import OrderStore
import ServiceRuntime

/// `orderctl audit`
struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prove in the database that balances, stocks, payments and events agree with each other.",
        discussion: """
            Reads everything at one moment and changes nothing. Exits with 0 when every rule holds, and with 1 when \
            one is broken: then it lists the first places of each.

            \(OrderCtl.environment)
            """
    )

    /// A million orders take some seconds.
    private static let limit = Duration.seconds(300)

    @Option(help: "text or json.")
    var format = OrderCtl.Format.text

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            let start = ContinuousClock.now
            let violations = try await AuditStore.violations(
                in: ownerDatabase(settings),
                deadline: start + Audit.limit
            )
            let milliseconds = Int64((ContinuousClock.now - start) / .milliseconds(1))
            switch format {
            case .text: printLines(violations, milliseconds: milliseconds)
            case .json: print(try encoded(JSON(violations, milliseconds: milliseconds)))
            }
            guard violations.isEmpty else {
                throw ProcessFailure("\(violations.count) of \(AuditStore.Rule.allCases.count) rules are broken")
            }
        }
    }

    private func printLines(_ violations: [AuditStore.Violation], milliseconds: Int64) {
        for violation in violations {
            let rule = violation.rule
            print("invariant \(rule.invariant)  \(rule.rawValue): \(violation.total) broken, by \(rule.place):")
            for id in violation.ids { print("    \(id)") }
            let hidden = violation.total - Int64(violation.ids.count)
            if hidden > 0 { print("    and \(hidden) more") }
        }
        let held = AuditStore.Rule.allCases.count - violations.count
        print("\(held) of \(AuditStore.Rule.allCases.count) rules hold; checked in \(milliseconds) ms")
    }

    private struct JSON: Encodable {
        struct Violation: Encodable {
            let rule: String
            let invariant: Int
            let place: String
            let total: Int64
            let ids: [String]
        }

        let clean: Bool
        let rules: Int
        let durationMs: Int64
        let violations: [Violation]

        init(_ violations: [AuditStore.Violation], milliseconds: Int64) {
            clean = violations.isEmpty
            rules = AuditStore.Rule.allCases.count
            durationMs = milliseconds
            self.violations = violations.map { violation in
                Violation(
                    rule: violation.rule.rawValue,
                    invariant: violation.rule.invariant,
                    place: violation.rule.place,
                    total: violation.total,
                    ids: violation.ids
                )
            }
        }
    }
}
