import Foundation
import Logging
import OrderDomain
import OrderStore
import Postgres
import RankingBoard
import Redis

/// Brings the lists of a committed run to Redis, and notes what became of them.
struct RankingPublisher: Sendable {
    /// What became of the lists.
    struct Result: Sendable {
        let publication: AggregationRun.Publication
        /// What an operator should know although the run was saved; one line.
        let problem: String?
    }

    /// How long Redis, and then the note in the database, may take.
    private static let limit = Duration.seconds(5)

    let board: RankingBoard

    /// Publishes; a note that cannot be made is no failure, since nothing rests on it.
    func publish(_ outcome: RankingStore.Outcome, on connection: PostgresConnection) async -> Result {
        let result = await publish(outcome, beside: connection)
        try? await RankingStore.mark(
            outcome.run,
            result.publication,
            at: .now,
            on: connection,
            deadline: .now + Self.limit
        )
        return result
    }

    private func publish(_ outcome: RankingStore.Outcome, beside connection: PostgresConnection) async -> Result {
        do {
            if try await board.publish(outcome.run, lists: outcome.lists, deadline: .now + Self.limit) {
                return Result(publication: .published, problem: nil)
            }
            return Result(publication: .superseded, problem: try await problemOfSuperseded(connection))
        } catch {
            return Result(publication: .failed, problem: "not published to Redis, a later run will be: \(error)")
        }
    }

    /// That a newer run of this database stands in Redis is how it should be; one that the database does not know is
    /// not, since it would stand there until the runs have come that far.
    private func problemOfSuperseded(_ connection: PostgresConnection) async throws -> String? {
        let standing = try await board.currentVersion(deadline: .now + Self.limit)
        let saved = try await RankingStore.runs(limit: 1, on: connection, deadline: .now + Self.limit).first?.version
        guard let standing, let saved, standing > saved else { return nil }
        return """
            not published to Redis: run \(standing.run) stands there, which this database does not know; if the files \
            of the database server were put back to an earlier time, `redis-cli DEL popular:3d:current` lets the next \
            run be seen
            """
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
