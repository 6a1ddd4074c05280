import Foundation
import Synchronization
import TestSupport
import Testing

extension EndToEndTests {
    /// How many connections are cut: 50, or what `JUMUN_TEST_CUTS` says.
    private static let cuts = ProcessInfo.processInfo.environment["JUMUN_TEST_CUTS"].flatMap { Int($0) } ?? 50
    private static let cutClients = 32

    @Test("no answer is wrong when the connection to PostgreSQL is cut around COMMIT, again and again")
    func cutCommits() async throws {
        try await System.with { system in
            let database = try #require(URLComponents(string: system.servers.databaseURL(as: "jumun_api")))
            let proxy = try FaultProxy(
                host: database.host ?? "",
                port: try #require(database.port.flatMap { UInt16(exactly: $0) })
            )
            defer { proxy.stop() }
            try await system.withFurtherAPI(databasePort: proxy.port) { web in
                try await system.underLoad(clients: Self.cutClients, at: web) { load in
                    try await cutAgainAndAgain(proxy, system, web)
                    let before = load.orders
                    try await system.eventually("orders are taken again", within: .seconds(20)) {
                        load.orders > before + Self.cutClients
                    }
                }
            }
        }
    }

    /// Each moment in turn: the server has committed and its answer is lost; the server commits what a cut connection
    /// still brought it; the request to commit is lost.
    private func cutAgainAndAgain(_ proxy: FaultProxy, _ system: System, _ web: Web) async throws {
        // The tag of a CommandComplete, and the statement's name in a Bind.
        let (answer, request) = (Array("COMMIT\0".utf8), Array("\0commit\0".utf8))
        let kinds: [([UInt8], FaultProxy.Direction, FaultProxy.Cut)] = [
            (answer, .toClient, .beforeForwarding), (request, .toServer, .afterForwarding),
            (request, .toServer, .beforeForwarding),
        ]
        let deadline = ContinuousClock.now + .seconds(20 + Self.cuts / 5)
        var unanswered = 0
        var armed = 0
        while unanswered < Self.cuts {
            if proxy.cuts == armed {
                let (marker, direction, cut) = kinds[armed % kinds.count]
                proxy.cutNext(marker, direction, cut)
                armed += 1
            }
            try #require(ContinuousClock.now < deadline, "\(unanswered) cuts in \(proxy.cuts) of \(armed)")
            // The relay's connections are cut too; what counts is each batch whose COMMIT was not answered.
            if armed.isMultiple(of: 10) || armed > Self.cuts { unanswered = try await unansweredCommits(web) }
            try await Task.sleep(for: .milliseconds(2))
        }
        print("\(unanswered) commits without an answer in \(proxy.cuts) cuts")
    }

    private func unansweredCommits(_ web: Web) async throws -> Int {
        let metrics = try await web.get("/metrics").body
        let line = metrics.split(separator: "\n").first {
            $0.hasPrefix(#"order_commit_retries_total{reason="commit_unanswered"}"#)
        }
        return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }
}
