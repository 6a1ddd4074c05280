package import Logging
import Synchronization

/// What became of a transaction.
package enum TransactionStatus: String, Sendable {
    /// It is durable.
    case committed
    /// Nothing of it took effect.
    case aborted
    /// It runs still.
    case inProgress = "in progress"
    /// The server no longer knows, or has crashed since, so that what it says may be about another transaction.
    case tooOld = "too old"
}

/// A bounded set of connections that callers borrow, first come, first served.
///
/// Connections are opened on demand, and every one that comes back unusable is replaced on demand.
package final class PostgresPool: Sendable {
    private typealias State = PoolState<PostgresConnection>
    private typealias Grant = Result<State.Lease, PostgresError>

    private struct Shared {
        var state: State
        var waiters: [State.WaiterID: CheckedContinuation<Grant, Never>] = [:]
        var nextWaiter: State.WaiterID = 0
    }

    /// How long an abandoned transaction may take to roll back; after that the connection is closed instead.
    private static let rollbackTimeout = Duration.seconds(1)

    let configuration: PostgresConfiguration
    let logger: Logger
    private let shared: Mutex<Shared>

    /// Creates a pool without any connection.
    ///
    /// - Parameters:
    ///   - maximumConnections: at least 1; each open connection has one thread.
    ///   - maximumWaiters: how many callers may wait; the next one is refused with `.poolExhausted`.
    package init(
        configuration: PostgresConfiguration,
        maximumConnections: Int,
        maximumWaiters: Int = 1_000,
        logger: Logger
    ) {
        precondition(maximumConnections > 0 && maximumWaiters >= 0, "a pool needs a connection")
        self.configuration = configuration
        self.logger = logger
        let state = State(maximumConnections: maximumConnections, maximumWaiters: maximumWaiters)
        shared = Mutex(Shared(state: state))
    }

    /// How many callers wait for a connection at the moment.
    package var waiterCount: Int { shared.withLock { $0.state.waiterCount } }

    /// Lends a connection to `body`, which must not keep it.
    ///
    /// A transaction that `body` leaves open is rolled back.
    /// - Throws: what `body` throws; `.poolExhausted`, `.poolClosed`, `.timedOut`, `.cancelled`, `.connectFailed`
    ///   before `body` is called.
    package func withConnection<R: Sendable>(
        deadline: ContinuousClock.Instant,
        _ body: (PostgresConnection) async throws -> R
    ) async throws -> R {
        let connection = try await acquire(deadline: deadline)
        do {
            let value = try await body(connection)
            await release(connection)
            return value
        } catch {
            await release(connection)
            throw error
        }
    }

    /// Runs one statement on any connection, see ``PostgresConnection/query(_:_:deadline:)``.
    package func query(
        _ statement: SQLStatement,
        _ parameters: [PostgresValue] = [],
        deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> PostgresRows {
        let rows = try await pipeline([PostgresStep(statement, parameters)], deadline: deadline)
        return rows[0]
    }

    /// Returns once the server has answered on any connection; throws what keeps it from that.
    package func ping(deadline: ContinuousClock.Instant) async throws(PostgresError) {
        _ = try await query(SQLStatement("ping", "SELECT 1"), deadline: deadline)
    }

    /// Runs several statements in one round trip on any connection, see ``PostgresConnection/pipeline(_:deadline:)``.
    package func pipeline(
        _ steps: [PostgresStep],
        deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> [PostgresRows] {
        let connection = try await acquire(deadline: deadline)
        do throws(PostgresError) {
            let rows = try await connection.pipeline(steps, deadline: deadline)
            await release(connection)
            return rows
        } catch {
            await release(connection)
            throw error
        }
    }

    /// Closes the idle connections at once and the borrowed ones when they come back; waiters get `.poolClosed`.
    package func close() async {
        let (idle, waiters) = shared.withLock { shared in
            let (waiters, idle) = shared.state.close()
            return (idle, waiters.compactMap { shared.waiters.removeValue(forKey: $0) })
        }
        for waiter in waiters { waiter.resume(returning: .failure(Self.closedError)) }
        for connection in idle { await connection.close() }
    }

    // MARK: - Lending

    /// Takes a connection out of the pool; ``release(_:)`` must follow.
    func acquire(deadline: ContinuousClock.Instant) async throws(PostgresError) -> PostgresConnection {
        let lease = try await permit(deadline: deadline)
        if case .reuse(let connection) = lease {
            if connection.isUsable, !connection.hasUnexpectedInput { return connection }
            logger.debug("discarding an idle connection: the server has ended it")
            await connection.close()
        }
        do throws(PostgresError) {
            return try await PostgresConnection.connect(configuration, deadline: deadline)
        } catch {
            logger.debug("cannot connect", metadata: ["error": "\(error)"])
            await settle(shared.withLock { Self.release(nil, &$0) })
            throw error
        }
    }

    /// Puts a connection back, out of any transaction, or replaces it when it cannot be used any more.
    func release(_ connection: PostgresConnection) async {
        if connection.isUsable, connection.isInTransaction {
            logger.debug("rolling back a transaction that was left open")
            await connection.rollBack(deadline: .now + Self.rollbackTimeout)
        }
        let isUsable = connection.isUsable
        if !isUsable { logger.debug("discarding a connection that cannot be used any more") }
        await settle(shared.withLock { Self.release(isUsable ? connection : nil, &$0) })
    }

    /// What a release asks for, with the continuation looked up while the lock was held.
    private struct Settlement {
        var resume: (continuation: CheckedContinuation<Grant, Never>, lease: State.Lease)?
        var close: PostgresConnection?
    }

    private static func release(_ connection: PostgresConnection?, _ shared: inout Shared) -> Settlement {
        let release = shared.state.release(connection)
        var settlement = Settlement(close: release.close)
        if let grant = release.grant, let continuation = shared.waiters.removeValue(forKey: grant.waiter) {
            settlement.resume = (continuation, grant.lease)
        }
        return settlement
    }

    private func settle(_ settlement: Settlement) async {
        if let (continuation, lease) = settlement.resume { continuation.resume(returning: .success(lease)) }
        await settlement.close?.close()
    }

    private static let closedError = PostgresError(.poolClosed, "the pool is closed")

    /// Waits for a permit, first come, first served.
    private func permit(deadline: ContinuousClock.Instant) async throws(PostgresError) -> State.Lease {
        if Task.isCancelled { throw PostgresError(.cancelled, "cancelled before a connection was free") }
        let waiter = shared.withLock { shared in
            shared.nextWaiter += 1
            return shared.nextWaiter
        }
        let timer = Mutex<Task<Void, Never>?>(nil)
        defer { timer.withLock { $0?.cancel() } }
        let grant = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard enqueue(waiter, continuation) else { return }
                let task = Task {
                    try? await Task.sleep(until: deadline, clock: .continuous)
                    let error = PostgresError(.timedOut, "no connection was free in time", isRetryable: true)
                    self.giveUp(waiter, error)
                }
                timer.withLock { $0 = task }
            }
        } onCancel: {
            giveUp(waiter, PostgresError(.cancelled, "cancelled before a connection was free"))
        }
        return try grant.get()
    }

    /// Resumes the continuation when there is an answer already; whether it waits instead.
    private func enqueue(_ waiter: State.WaiterID, _ continuation: CheckedContinuation<Grant, Never>) -> Bool {
        let answer: Grant? = shared.withLock { shared in
            // Asked under the lock: a cancellation either shows here, or its handler finds the waiter.
            if Task.isCancelled { return .failure(PostgresError(.cancelled, "cancelled before a connection was free")) }
            switch shared.state.acquire(waiter) {
            case .granted(let lease): return .success(lease)
            case .refusedClosed: return .failure(Self.closedError)
            case .refusedExhausted:
                return .failure(PostgresError(.poolExhausted, "too many callers wait already", isRetryable: true))
            case .queued:
                shared.waiters[waiter] = continuation
                return nil
            }
        }
        if let answer { continuation.resume(returning: answer) }
        return answer == nil
    }

    private func giveUp(_ waiter: State.WaiterID, _ error: PostgresError) {
        let continuation = shared.withLock { shared in
            shared.state.abandon(waiter) ? shared.waiters.removeValue(forKey: waiter) : nil
        }
        continuation?.resume(returning: .failure(error))
    }
}
