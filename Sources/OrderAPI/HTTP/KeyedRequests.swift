import Foundation
import Hummingbird
import OrderDomain
import OrderMessages
import OrderStore
import Postgres

/// A request with an idempotency key is refused before it is begun; ``Problems`` remembers that under the key.
struct KeyedRefusal: Error {
    let claim: IdempotencyClaim
    /// What was thrown.
    let reason: any Error
}

extension Request {
    /// Runs what may refuse the request once its body is there.
    ///
    /// - Parameters:
    ///   - user: under whose keys a refusal is remembered, as far as that can be told; it must be the one under whose
    ///     keys the request would be done, so that a key cannot be used for both.
    ///   - check: reads the path and the body.
    /// - Throws: ``KeyedRefusal`` with what `check` throws; without an idempotency key, what `check` throws.
    func checked<Value>(
        _ body: Data,
        of user: @autoclosure () -> UserID? = nil,
        _ check: () async throws -> Value
    ) async throws -> Value {
        do {
            return try await check()
        } catch {
            guard let claim = try idempotencyClaim(of: user(), body: body) else { throw error }
            throw KeyedRefusal(claim: claim, reason: error)
        }
    }
}

extension Response {
    /// The answer of a write outside the commit engine, which is done once for its idempotency key.
    ///
    /// - Throws: `Problem` with status 422 when the key was used with another request; as `KeyedWrite.run` does.
    static func once(
        _ claim: IdempotencyClaim?,
        at now: Date,
        in pool: PostgresPool,
        deadline: ContinuousClock.Instant,
        _ write: (PostgresConnection) async throws -> RememberedAnswer
    ) async throws -> Response {
        let outcome = try await KeyedWrite.run(
            claim,
            at: now,
            keysSince: now - BatchCommitter.keyLifetime,
            in: pool,
            deadline: deadline,
            write
        )
        switch outcome {
        case .answered(let answer): return .committed(CommitAnswer(answer: answer, isReplay: false))
        case .replayed(let answer): return .committed(CommitAnswer(answer: answer, isReplay: true))
        case .keyReused: throw Problem(.idempotencyKeyReused)
        }
    }
}
