import Logging
import ThreadExecutor

/// The statements with which the pool finds out what became of a transaction.
///
/// A transaction is named `xid@incarnation`. The incarnation changes whenever the server comes back from a crash (the
/// statistics are reset then): a crash may lose a transaction id with all of its work and give the same id to another
/// transaction, so that "committed" from another incarnation proves nothing, and everything else means aborted.
extension SQLStatement {
    /// Names the current transaction, in column `xid`; for ``PostgresPool/status(ofTransaction:deadline:)``.
    package static let currentTransaction = SQLStatement(
        "current_transaction",
        """
        SELECT pg_current_xact_id()::text || '@' || extract(epoch FROM stats_reset)::text AS xid FROM pg_stat_wal
        """
    )

    fileprivate static let transactionStatus = SQLStatement(
        "transaction_status",
        """
        SELECT pg_xact_status(split_part($1, '@', 1)::xid8) AS status,
               split_part($1, '@', 2) IN ('', extract(epoch FROM stats_reset)::text) AS is_same_incarnation
        FROM pg_stat_wal
        """
    )
}

extension PostgresConnection {
    /// Asks the server what became of a transaction, see ``PostgresPool/status(ofTransaction:deadline:)``.
    func status(
        ofTransaction xid: String,
        deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> TransactionStatus {
        do throws(PostgresError) {
            let rows = try await query(.transactionStatus, [.text(xid)], deadline: deadline)
            let status: String? = try rows[0].get("status")
            if try rows[0].get("is_same_incarnation") {
                return status.flatMap { TransactionStatus(rawValue: $0) } ?? .tooOld
            }
            return status == nil || status == TransactionStatus.committed.rawValue ? .tooOld : .aborted
        } catch {
            // "Transaction ID is in the future": a crash lost the transaction, and no other has its id yet.
            if error.sqlState == .invalidParameterValue { return .aborted }
            throw error
        }
    }
}

extension PostgresPool {
    /// How long to wait between two questions about a lost COMMIT.
    private static let resolutionPause = Duration.milliseconds(20)

    /// Runs `body` between BEGIN and COMMIT on one connection.
    ///
    /// When `body` throws, the transaction is rolled back and the error rethrown. When the answer to COMMIT is lost,
    /// the outcome is looked up on a new connection, until the deadline, whether or not the task is cancelled.
    /// - Returns: what `body` returned, only if the transaction is committed.
    /// - Throws: what `body` throws; `.transactionAborted` (retryable) or the server's error when COMMIT did not
    ///   commit; `.commitOutcomeUnknown` when nobody could say before the deadline.
    package func transaction<R: Sendable>(
        deadline: ContinuousClock.Instant,
        _ body: (PostgresConnection) async throws -> R
    ) async throws -> R {
        let connection = try await acquire(deadline: deadline)
        do {
            let begun = try await connection.pipeline(
                [PostgresStep(.begin), PostgresStep(.currentTransaction)],
                deadline: deadline
            )
            let xid: String = try begun[1][0].get("xid")
            let value = try await body(connection)
            switch await connection.commit(deadline: deadline) {
            case .committed: break
            case .refused(let error): throw error
            case .lost(let error):
                logger.warning("lost the answer to COMMIT", metadata: ["error": "\(error)"])
                try await resolve(xid, deadline: deadline)
            }
            await release(connection)
            return value
        } catch {
            await release(connection)
            throw error
        }
    }

    /// What became of a transaction.
    ///
    /// - Parameter xid: the value of ``SQLStatement/currentTransaction``; a plain transaction id works as well, but
    ///   its status is not to be trusted once the server has crashed in the meantime.
    /// - Throws: as ``query(_:_:deadline:)``.
    package func status(
        ofTransaction xid: String,
        deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> TransactionStatus {
        let connection = try await acquire(deadline: deadline)
        do throws(PostgresError) {
            let status = try await connection.status(ofTransaction: xid, deadline: deadline)
            await release(connection)
            return status
        } catch {
            await release(connection)
            throw error
        }
    }

    /// Returns once the transaction is known to be committed. Uses a connection of its own, in the place of the lost
    /// one, whose permit the caller still holds.
    private func resolve(_ xid: String, deadline: ContinuousClock.Instant) async throws(PostgresError) {
        // A task of its own, because the caller's may be cancelled; the deadline bounds it.
        let verdict = await Task { await self.verdict(on: xid, deadline: deadline) }.value
        switch verdict {
        case .committed: return
        case .aborted:
            throw PostgresError(.transactionAborted, "the connection was lost before COMMIT", isRetryable: true)
        case .inProgress, .tooOld:
            throw PostgresError(.commitOutcomeUnknown, "the answer to COMMIT was lost, and the outcome is not known")
        }
    }

    private func verdict(on xid: String, deadline: ContinuousClock.Instant) async -> TransactionStatus {
        var fresh: PostgresConnection?
        var status = TransactionStatus.inProgress
        while status == .inProgress, !deadline.isPast {
            do throws(PostgresError) {
                if fresh?.isUsable != true {
                    fresh = try await PostgresConnection.connect(configuration, deadline: deadline)
                }
                status = try await fresh?.status(ofTransaction: xid, deadline: deadline) ?? .inProgress
            } catch {
                logger.debug("cannot look up a transaction yet", metadata: ["error": "\(error)"])
            }
            if status == .inProgress { try? await Task.sleep(for: Self.resolutionPause) }
        }
        await fresh?.close()
        return status
    }
}
