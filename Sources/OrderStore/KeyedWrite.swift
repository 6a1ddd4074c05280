package import FoundationEssentials
package import OrderDomain
package import Postgres

/// A write outside the commit engine that is done once, however often it is said with the same idempotency key.
package enum KeyedWrite {
    /// How often it is tried when another request with the same key wins.
    private static let tries = 3

    /// What was answered now or, under the same key, before.
    package enum Outcome: Sendable {
        case answered(RememberedAnswer)
        case replayed(RememberedAnswer)
        /// The key was used with another request.
        case keyReused
    }

    /// Runs `write` in a transaction and keeps its answer under the key in the same transaction.
    ///
    /// Of two requests with one key at once the second waits for the first and then finds its answer.
    /// - Parameters:
    ///   - claim: the key; without one the write is simply done.
    ///   - keysSince: keys older than this are forgotten.
    ///   - write: gives the answer, refusals included. What it throws rolls everything back and is not remembered. It
    ///     may run again when nothing of the run before has taken effect.
    /// - Throws: `PostgresError`, and what `write` throws.
    package static func run(
        _ claim: IdempotencyClaim?,
        at now: Date,
        keysSince: Date,
        in pool: PostgresPool,
        deadline: ContinuousClock.Instant,
        _ write: (PostgresConnection) async throws -> RememberedAnswer
    ) async throws -> Outcome {
        for attempt in 1...tries {
            do {
                return try await pool.transaction(deadline: deadline) { connection in
                    if let claim, let known = try await known(claim, keysSince, connection, deadline) { return known }
                    let answer = try await write(connection)
                    if let claim {
                        _ = try await connection.pipeline(
                            BatchRows.answers([(claim, answer)], at: now, keysSince: keysSince),
                            deadline: deadline
                        )
                    }
                    return .answered(answer)
                }
            } catch let error as PostgresError where error.sqlState == .divisionByZero && attempt < tries {
                // How the statement says that another transaction has just taken the key.
                continue
            }
        }
        throw CommitStore.Conflict()
    }

    private static func known(
        _ claim: IdempotencyClaim,
        _ keysSince: Date,
        _ connection: PostgresConnection,
        _ deadline: ContinuousClock.Instant
    ) async throws -> Outcome? {
        let rows = try await connection.pipeline([BatchRows.keys([claim], since: keysSince)], deadline: deadline)[0]
        guard let row = rows.first else { return nil }
        guard try row.get("fingerprint") == claim.fingerprint else { return .keyReused }
        return .replayed(try RememberedAnswer(row: row))
    }
}
