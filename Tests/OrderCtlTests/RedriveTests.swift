import ArgumentParser
import Foundation
import Hummingbird
import HummingbirdTesting
import OrderStore
import ServiceRuntime
import Testing

@testable import Operations
@testable import OrderCtl

@Suite("Redrives")
struct RedriveTests {
    @Test(
        "exactly one selection, and a time that is one",
        arguments: [
            [], ["--all", "--group", "g"], ["--id", "a", "--since", "1h"], ["--since", "yesterday"],
            ["--all", "--rate", "0"],
            ["--all", "--limit", "0"], ["--all", "--redrive-id", ""],
            ["--all", "--redrive-id", String(repeating: "a", count: 101)],
        ]
    )
    func refuses(arguments: [String]) {
        #expect(throws: (any Error).self) { try OrderCtl.parseAsRoot(["dlq", "redrive"] + arguments) }
    }

    @Test("a selection alone will do", arguments: [["--all"], ["--group", "g"], ["--id", "a"], ["--since", "1h"]])
    func accepts(arguments: [String]) throws {
        _ = try OrderCtl.parseAsRoot(["dlq", "redrive"] + arguments)
    }

    @Test("nothing is removed without --yes")
    func purgeAsks() {
        #expect(throws: (any Error).self) { try OrderCtl.parseAsRoot(["dlq", "purge", "--group", "g"]) }
        #expect(throws: (any Error).self) { try OrderCtl.parseAsRoot(["dlq", "purge", "--yes"]) }
    }

    @Test(
        "an open circuit stops a redrive, and so does a consumer that does not answer as it should",
        arguments: [
            (#"{"status":"ok","circuit":"closed","stages":[]}"#, nil),
            (#"{"status":"ok","circuit":"half_open","stages":[]}"#, nil),
            (#"{"status":"stop","circuit":"open","stages":[]}"#, "the consumer's circuit is open"),
            ("{}", "answered something else"),
        ] as [(String, String?)]
    )
    func circuit(lag: String, reason: String?) async throws {
        let router = Router()
        router.get("/lag") { _, _ in lag }
        try await Application(router: router).test(.live) { client in
            let url = "http://127.0.0.1:\(client.port ?? 0)"
            var circuit = try CircuitGuard(ConsumerClient(Settings(["CONSUMER_URL": url])))
            let found = await circuit.reasonToStop()
            if let reason { #expect(found?.contains(reason) == true, "\(found ?? "")") } else { #expect(found == nil) }
        }
        var gone = try CircuitGuard(ConsumerClient(Settings(["CONSUMER_URL": "http://127.0.0.1:1"])))
        #expect(await gone.reasonToStop()?.contains("--without-consumer") == true)
    }

    @Test("a report says what was done, and how to go on")
    func reports() throws {
        var report = RedriveReport(
            .init(id: "r1", selection: .group("422"), limit: 10, perSecond: 5, isDryRun: false, requestedBy: "someone")
        )
        report.sent = 1_200
        report.duration = .seconds(4)
        report.count(.cameBack)
        #expect(report.text.contains("sent again  1,200 in 4 s, 300 a second"))
        #expect(report.text.contains("came back   1 failed again"))
        #expect(report.failure == nil)
        report.interruption = .init(kind: .stopped, reason: "stopped by a signal")
        let failure = try #require(report.failure)
        #expect(failure.exitCode == ExitCode.temporaryFailure)
        #expect(failure.description.hasSuffix("orderctl dlq redrive --group 422 --limit 10 --rate 5 --redrive-id r1"))
    }
}
