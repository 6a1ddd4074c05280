import FoundationEssentials
import Logging
import OpsMetrics
import OrderDomain
import OrderMessages
import Postgres
import Testing

@testable import OrderAPI

@Suite("A commit lane", .timeLimit(.minutes(1)))
struct CommitLaneTests {
    @Test("a full queue refuses at once, with a time to come back; what waits is answered by the next batches")
    func refusesWhenFull() async throws {
        let lane = try lane()
        let user = try #require(UserID(1))
        await withTaskGroup(of: String?.self) { group in
            for _ in 0...CommitLane.queueLimit { group.addTask { await Self.charge(user, at: lane) } }
            // Nobody takes from the queue yet, so that only the one too many can be answered.
            #expect(await group.next() == "overloaded")
            group.addTask {
                await lane.run()
                return nil
            }
            for _ in 0..<CommitLane.queueLimit {
                // `overloaded` on a machine on which they have waited for too long by now.
                #expect(["database_unavailable", "overloaded"].contains(await group.next()))
            }
            lane.stop()
            #expect(await group.next() == .some(nil))
        }
    }

    /// The code of the problem, which tells when to come back.
    private static func charge(_ user: UserID, at lane: CommitLane) async -> String {
        do {
            _ = try await lane.submit(Submission(command: charge(user), requestID: "test", traceparent: nil))
            return "done"
        } catch let problem as Problem {
            #expect(problem.status == 503 && problem.retryAfterSeconds ?? 0 > 0)
            return problem.code
        } catch {
            return "\(error)"
        }
    }

    private static func charge(_ user: UserID) -> Command {
        .chargeBalance(
            ChargeBalance(
                entryID: UUID(),
                userID: user,
                amount: Money(minorUnits: 1),
                claim: nil,
                at: Date(timeIntervalSince1970: 0)
            )
        )
    }

    /// In front of a database that is not there.
    private func lane() throws -> CommitLane {
        let logger = Logger(label: "commit-lane-tests") { _ in SwiftLogNoOpLogHandler() }
        let metrics = CommitMetrics(MetricsRegistry())
        let pool = PostgresPool(
            configuration: try PostgresConfiguration(
                url: "postgres://nobody@127.0.0.1:1/none",
                applicationName: "test"
            ),
            maximumConnections: 1,
            logger: logger
        )
        let committer = BatchCommitter(pool: pool, gate: SoldOutGate(), metrics: metrics, logger: logger)
        return CommitLane(committer: committer, metrics: metrics, onCommit: {})
    }
}
