import ArgumentParser
import Foundation
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

/// `aggregator verify`
struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare what is kept with the ledger, as the last run's snapshot saw it.",
        discussion: """
            Counts all of it anew: every hour that is kept, the totals, and both lists. Each difference is printed, \
            their number is noted with the run, and the exit code is 1 when there is one. `aggregator rebuild` puts \
            it right.

            \(Aggregator.environment)
            """
    )

    @Option(help: "text or json.")
    var format = Aggregator.Format.text

    func run() async throws {
        await ServiceProcess.main("aggregator") { settings, _ in
            let deadline = ContinuousClock.now + Aggregator.countLimit
            let connection = try await PostgresConnection.connect(Aggregator.database(settings), deadline: deadline)
            let verification = try await verification(on: connection, deadline: deadline)
            try await RankingStore.note(verification, at: .now, on: connection, deadline: deadline)
            await connection.close()
            try VerificationReport(verification).print(as: format)
            guard verification.mismatches == 0 else {
                throw ProcessFailure(
                    "\(verification.mismatches) values are wrong; `aggregator rebuild` counts them anew"
                )
            }
        }
    }
}

/// Counts and compares; throws a `ProcessFailure` that says what to do where that cannot be done.
func verification(
    on connection: PostgresConnection,
    deadline: ContinuousClock.Instant
) async throws -> RankingStore.Verification {
    do {
        return try await RankingStore.verify(on: connection, deadline: deadline)
    } catch RankingStore.NothingToVerify.noRun {
        throw ProcessFailure("there is no run that could be verified; `aggregator run` makes one")
    } catch RankingStore.NothingToVerify.foreignRows {
        throw ProcessFailure(
            """
            the ledger has sales with transaction numbers of another server, from a dump that was restored: every run \
            counts everything, and none can be verified; `orderctl freeze-ledger` mends that, with \
            the run after it
            """
        )
    }
}

/// What `aggregator verify` and `aggregator rebuild --dry-run` say.
struct VerificationReport {
    private let verification: RankingStore.Verification

    init(_ verification: RankingStore.Verification) {
        self.verification = verification
    }

    func print(as format: Aggregator.Format) throws {
        switch format {
        case .text: Swift.print(text)
        case .json: Swift.print(try encoded(JSON(verification)))
        }
    }

    private var text: String {
        let run = verification.run
        let head = """
            run          \(run.version.run)
            window       \(run.window.mode.rawValue)
            window from  \(run.window.from.rfc3339)
            window to    \(run.window.to.rfc3339)
            differences  \(verification.mismatches)
            """
        guard verification.mismatches > 0 else { return head }
        var table = TextTable([("WHAT", .left), ("WHERE", .left), ("THE LEDGER SAYS", .left), ("KEPT", .left)])
        for difference in verification.differences {
            table.add([
                difference.kind.rawValue, difference.place, difference.expected ?? "nothing",
                difference.found ?? "nothing",
            ])
        }
        let rest = verification.mismatches - Int64(verification.differences.count)
        return head + "\n\n" + table.text + (rest > 0 ? "\nand \(rest) more" : "")
    }

    private struct JSON: Encodable {
        struct Difference: Encodable {
            let what: String
            let place: String
            let expected: String?
            let kept: String?
        }

        let run: Int64
        let windowMode: String
        let windowFrom: String
        let windowTo: String
        let mismatches: Int64
        let differences: [Difference]

        init(_ verification: RankingStore.Verification) {
            run = verification.run.version.run
            windowMode = verification.run.window.mode.rawValue
            windowFrom = verification.run.window.from.rfc3339
            windowTo = verification.run.window.to.rfc3339
            mismatches = verification.mismatches
            differences = verification.differences.map {
                Difference(what: $0.kind.rawValue, place: $0.place, expected: $0.expected, kept: $0.found)
            }
        }
    }
}
