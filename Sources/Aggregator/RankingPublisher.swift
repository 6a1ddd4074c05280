import Foundation
import Logging
import OrderDomain
import OrderStore
import Postgres
import RankingBoard
import Redis

/// Brings the lists of a committed run to Redis, and notes what became of them.
struct RankingPublisher: Sendable {
    /// What became of the lists, and why, where they are not the current ones.
    struct Result: Sendable {
        let publication: AggregationRun.Publication
        let reason: String?

        /// What an operator should know although the run succeeded; one line.
        var problem: String? {
            switch publication {
            case .published: nil
            case .superseded:
                """
                not published to Redis: a newer run stands there; if the files of the database server were put back \
                to an earlier time, `redis-cli DEL popular:3d:current` lets the next run be seen
                """
            case .failed: "not published to Redis, a later run will be: \(reason ?? "")"
            }
        }
    }

    /// How long Redis, and then the note in the database, may take.
    private static let limit = Duration.seconds(5)

    let board: RankingBoard

    /// Publishes; a note that cannot be made is no failure, since nothing rests on it.
    func publish(_ outcome: RankingStore.Outcome, on connection: PostgresConnection) async -> Result {
        let result = await publish(outcome)
        try? await RankingStore.mark(
            outcome.run,
            result.publication,
            at: .now,
            on: connection,
            deadline: .now + Self.limit
        )
        return result
    }

    private func publish(_ outcome: RankingStore.Outcome) async -> Result {
        do {
            let isCurrent = try await board.publish(outcome.run, lists: outcome.lists, deadline: .now + Self.limit)
            return Result(publication: isCurrent ? .published : .superseded, reason: nil)
        } catch {
            return Result(publication: .failed, reason: "\(error)")
        }
    }

    /// Runs `body` with a publisher that writes nothing to the log: what goes wrong is said in the command's answer.
    static func with<R: Sendable>(
        _ configuration: RedisConfiguration,
        _ body: (RankingPublisher) async throws -> R
    ) async throws -> R {
        let logger = Logger(label: "redis") { _ in SwiftLogNoOpLogHandler() }
        let redis = RedisClient(configuration: configuration, logger: logger)
        do {
            let value = try await body(RankingPublisher(board: RankingBoard(redis)))
            await redis.close()
            return value
        } catch {
            await redis.close()
            throw error
        }
    }
}
