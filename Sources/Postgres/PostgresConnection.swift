import Glibc
import Synchronization
import ThreadExecutor

/// One session with the server, on a thread of its own.
///
/// Calls run one after the other. Every call has a deadline; when it passes, or the calling task is cancelled, while
/// the server works, the server is asked to cancel, the connection is closed, and the call throws `.timedOut` or
/// `.cancelled`. A call whose deadline has passed already, or whose task is cancelled already, throws the same without
/// touching the connection.
package actor PostgresConnection {
    /// The most steps of one pipeline.
    package static let maximumSteps = 10_000

    /// How late a cancelled task may notice: the longest single wait for the socket.
    private static let slice = Duration.milliseconds(20)

    /// How much of a COPY is queued in libpq at once.
    private static let copyPieceBytes = 64 << 10

    private nonisolated let executor = ThreadExecutor()
    private nonisolated let usable = Atomic(true)
    private nonisolated let inTransaction = Atomic(false)
    private nonisolated let descriptor = Atomic<Int32>(-1)

    private var link: LibPQConnection?
    private var prepared = PreparedStatements()

    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }

    private init() {}

    deinit { executor.stop() }

    /// Opens a session.
    ///
    /// Resolving a host name is bounded by the system's resolver only; an address or a local name avoids that.
    /// - Throws: `.connectFailed`, `.timedOut` or `.cancelled`.
    package static func connect(
        _ configuration: PostgresConfiguration,
        deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> PostgresConnection {
        let connection = PostgresConnection()
        try await connection.open(configuration, deadline: deadline)
        return connection
    }

    /// Whether another call can succeed: false after a lost connection, a timeout, a cancellation, trouble with the
    /// protocol, or ``close()``. Safe from any thread.
    package nonisolated var isUsable: Bool { usable.load(ordering: .acquiring) }

    /// Whether the last call left a transaction open, failed or not.
    nonisolated var isInTransaction: Bool { inTransaction.load(ordering: .acquiring) }

    /// Whether something has arrived while nothing was asked, which is how the end of a session looks. Only for a
    /// connection that no one uses at the moment.
    nonisolated var hasUnexpectedInput: Bool {
        var descriptor = pollfd(fd: descriptor.load(ordering: .acquiring), events: Int16(POLLIN), revents: 0)
        return unsafe poll(&descriptor, 1, 0) != 0
    }

    /// Runs one statement.
    ///
    /// - Throws: `.server` for the server's errors, `.invalidParameter` before anything is sent, `.connectionLost`,
    ///   `.timedOut`, `.cancelled`.
    package func query(
        _ statement: SQLStatement,
        _ parameters: [PostgresValue] = [],
        deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> PostgresRows {
        let rows = try run([PostgresStep(statement, parameters)], deadline: deadline)
        return rows[0]
    }

    /// Runs several statements in one round trip, and returns the rows of each.
    ///
    /// Outside of a transaction the steps form one implicit transaction. The first step that fails ends the pipeline;
    /// the error's ``PostgresError/failedStep`` says which it was, and the steps after it are not run. A constraint
    /// that is checked at the very end fails without a step.
    /// - Throws: as ``query(_:_:deadline:)``; `.transactionAborted` when a COMMIT among the steps rolled back.
    package func pipeline(
        _ steps: [PostgresStep],
        deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> [PostgresRows] {
        try run(steps, deadline: deadline)
    }

    /// Runs a script of several statements without parameters, for migrations; its rows are dropped.
    package func execute(script: String, deadline: ContinuousClock.Instant) async throws(PostgresError) {
        guard !script.utf8.contains(0) else { throw PostgresError(.invalidParameter, "the script has a zero byte") }
        let link = try ready(deadline: deadline, honoursCancellation: true)
        guard link.exitPipelineMode(), link.sendScript(script) else { throw lose(link) }
        let end = try readScript(link, statement: nil, deadline: deadline)
        guard !end.wantsRows else { throw lose(link) }
        try leaveScript(link, end)
    }

    /// Runs a `COPY … FROM STDIN (FORMAT binary)`, and returns how many rows the server took.
    ///
    /// The rows go out piece by piece, each when the one before has left, so that they are in memory once.
    /// - Throws: as ``query(_:_:deadline:)``; `.timedOut` and `.cancelled` also in the middle of the rows, of which
    ///   then none is kept.
    package func copy(
        _ statement: SQLStatement,
        _ rows: PostgresCopyRows,
        deadline: ContinuousClock.Instant
    ) async throws(PostgresError) -> Int {
        let link = try ready(deadline: deadline, honoursCancellation: true)
        let isUncommitted = isInTransaction
        do throws(PostgresError) {
            guard link.exitPipelineMode(), link.sendScript(statement.text) else { throw lose(link) }
            let start = try readScript(link, statement: statement.name, deadline: deadline)
            if start.wantsRows {
                try sendRows(rows, on: link, deadline: deadline)
            } else if start.failure == nil {
                throw retire(PostgresError(.invalidParameter, "\(statement.name) is no COPY … FROM STDIN"))
            }
            let end = start.wantsRows ? try readScript(link, statement: statement.name, deadline: deadline) : start
            try leaveScript(link, end)
            return end.affectedRows
        } catch {
            var error = error
            if isUncommitted, error.code == .connectionLost || error.code == .timedOut { error.isRetryable = true }
            throw error
        }
    }

    /// Lets the server parse and analyse a statement, without keeping it or running it.
    ///
    /// - Throws: `.server` when the statement does not fit the schema.
    package func prepare(_ statement: SQLStatement, deadline: ContinuousClock.Instant) async throws(PostgresError) {
        let link = try ready(deadline: deadline, honoursCancellation: true)
        // The unnamed statement: the next one replaces it.
        guard link.sendPrepare("", statement.text, types: []), link.sendSync() else { throw lose(link) }
        _ = try exchange([.prepare(statement, serverName: "", step: 0)], deadline: deadline)
    }

    /// Ends the session; more than once is fine.
    package func close() {
        usable.store(false, ordering: .releasing)
        descriptor.store(-1, ordering: .releasing)
        link = nil
    }

    // MARK: - For the pool

    /// What became of a COMMIT.
    enum CommitAnswer {
        case committed
        /// Nothing took effect.
        case refused(PostgresError)
        /// The answer did not come.
        case lost(PostgresError)
    }

    /// Commits. Once COMMIT has been sent a cancelled task waits on for the answer, until the deadline.
    func commit(deadline: ContinuousClock.Instant) async -> CommitAnswer {
        do throws(PostgresError) {
            _ = try ready(deadline: deadline, honoursCancellation: true)
        } catch {
            return .refused(error)
        }
        do throws(PostgresError) {
            _ = try run([PostgresStep(.commit)], deadline: deadline, honoursCancellation: false)
            return .committed
        } catch {
            switch error.code {
            case .server, .transactionAborted: return .refused(error)
            default: return .lost(error)
            }
        }
    }

    /// Leaves an open transaction, whether or not the task is cancelled; failing that, closes the connection.
    func rollBack(deadline: ContinuousClock.Instant) async {
        do throws(PostgresError) {
            _ = try run([PostgresStep(.rollback)], deadline: deadline, honoursCancellation: false)
        } catch {
            close()
        }
        if isInTransaction { close() }
    }

    // MARK: - The protocol

    private func open(_ configuration: PostgresConfiguration, deadline: ContinuousClock.Instant) throws(PostgresError) {
        let deadline = min(deadline, .now + configuration.connectTimeout)
        do throws(PostgresError) {
            if Task.isCancelled { throw PostgresError(.cancelled, "cancelled before connecting") }
            guard !deadline.isPast else { throw PostgresError(.timedOut, "too late to connect") }
            guard let link = LibPQConnection(parameters: configuration.parameters) else {
                throw PostgresError(.connectFailed, "libpq is out of memory")
            }
            var progress = LibPQConnection.ConnectProgress.wantsWrite
            while progress != .connected {
                if link.isBroken || progress == .failed {
                    throw PostgresError(.connectFailed, link.errorMessage)
                }
                let events = progress == .wantsRead ? POLLIN : POLLOUT
                try wait(link, events: events, deadline: deadline, honoursCancellation: true)
                progress = link.continueConnecting()
            }
            guard link.startPipelining() else {
                throw PostgresError(.connectFailed, link.errorMessage)
            }
            descriptor.store(link.descriptor, ordering: .releasing)
            self.link = link
        } catch {
            close()
            var error = error
            error.isRetryable = error.code != .cancelled
            throw error
        }
    }

    /// The link, if a call may start now.
    private func ready(
        deadline: ContinuousClock.Instant,
        honoursCancellation: Bool
    ) throws(PostgresError) -> LibPQConnection {
        guard let link else { throw PostgresError(.connectionLost, "the connection is closed", isRetryable: true) }
        if honoursCancellation, Task.isCancelled {
            throw PostgresError(.cancelled, "cancelled before anything was sent")
        }
        if deadline.isPast {
            throw PostgresError(.timedOut, "the deadline passed before anything was sent", isRetryable: true)
        }
        return link
    }

    /// What came of a script of the simple protocol.
    private struct ScriptEnd {
        /// The first failure.
        var failure: PostgresError?
        /// Of the last command.
        var affectedRows = 0
        /// It is not at its end: the server waits for the rows of a COPY.
        var wantsRows = false
    }

    /// Reads the answers to a script up to its end, or up to a COPY that wants rows.
    private func readScript(
        _ link: LibPQConnection,
        statement: String?,
        deadline: ContinuousClock.Instant
    ) throws(PostgresError) -> ScriptEnd {
        var end = ScriptEnd()
        while true {
            while !link.isBusy {
                guard let result = link.nextResult() else { return end }
                switch result.kind {
                case .success: end.affectedRows = result.affectedRows
                case .copyIn:
                    end.wantsRows = true
                    return end
                case .failure:
                    let error = result.message.error(statement: statement, step: nil)
                    if result.message.endsSession { throw retire(error) }
                    end.failure = end.failure ?? error
                default: throw lose(link)
                }
            }
            try advance(link, deadline: deadline, honoursCancellation: true)
        }
    }

    /// Back to pipelines, which all else is done in.
    private func leaveScript(_ link: LibPQConnection, _ end: ScriptEnd) throws(PostgresError) {
        inTransaction.store(link.isInTransaction, ordering: .releasing)
        guard !link.isBroken, link.enterPipelineMode() else { throw lose(link) }
        if let failure = end.failure { throw failure }
    }

    /// A server that has refused a row already skips the rest; its error is read at the end.
    private func sendRows(
        _ rows: PostgresCopyRows,
        on link: LibPQConnection,
        deadline: ContinuousClock.Instant
    ) throws(PostgresError) {
        var rest = rows.bytes[...]
        while !rest.isEmpty {
            guard link.putCopyData(rest.prefix(Self.copyPieceBytes)) else { throw lose(link) }
            rest = rest.dropFirst(Self.copyPieceBytes)
            try drain(link, deadline: deadline)
        }
        guard link.putCopyData(PostgresCopyRows.trailer), link.putCopyEnd() else { throw lose(link) }
        try drain(link, deadline: deadline)
    }

    /// Writes all that is queued.
    private func drain(_ link: LibPQConnection, deadline: ContinuousClock.Instant) throws(PostgresError) {
        while true {
            guard let hasUnsent = link.flush() else { throw lose(link) }
            if !hasUnsent { return }
            try advance(link, deadline: deadline, honoursCancellation: true)
        }
    }

    private func run(
        _ steps: [PostgresStep],
        deadline: ContinuousClock.Instant,
        honoursCancellation: Bool = true
    ) throws(PostgresError) -> [PostgresRows] {
        guard steps.count <= Self.maximumSteps else {
            throw PostgresError(.invalidParameter, "more than \(Self.maximumSteps) steps in a pipeline")
        }
        let link = try ready(deadline: deadline, honoursCancellation: honoursCancellation)
        guard !steps.isEmpty else { return [] }
        let parameters = try steps.map { step throws(PostgresError) in try EncodedParameters(step.parameters) }
        // Nothing can have taken effect while the transaction was certainly left open.
        let isUncommitted =
            (isInTransaction || steps[0].statement.role == .begins)
            && !steps.contains { $0.statement.role == .commits || $0.statement.role == .rollsBack }
        do throws(PostgresError) {
            let commands = try send(steps, parameters, on: link)
            let results = try exchange(commands, deadline: deadline, honoursCancellation: honoursCancellation)
            return results.map { PostgresRows($0) }
        } catch {
            var error = error
            if isUncommitted, error.code == .connectionLost || error.code == .timedOut { error.isRetryable = true }
            throw error
        }
    }

    /// Queues all steps, each behind its preparation where that is still due, and one sync.
    private func send(
        _ steps: [PostgresStep],
        _ parameters: [EncodedParameters],
        on link: LibPQConnection
    ) throws(PostgresError) -> [PipelineProgress.Command] {
        var commands: [PipelineProgress.Command] = []
        for (index, (step, parameters)) in zip(steps, parameters).enumerated() {
            let statement = step.statement
            let (serverName, mustPrepare) = prepared.lease(statement, types: parameters.types)
            if mustPrepare {
                guard link.sendPrepare(serverName, statement.text, types: parameters.types) else { throw lose(link) }
                commands.append(.prepare(statement, serverName: serverName, step: index))
            }
            guard link.sendExecute(serverName, parameters) else { throw lose(link) }
            commands.append(.execute(statement, step: index))
        }
        guard link.sendSync() else { throw lose(link) }
        return commands
    }

    /// Writes and reads until the server has answered the sync.
    private func exchange(
        _ commands: [PipelineProgress.Command],
        deadline: ContinuousClock.Instant,
        honoursCancellation: Bool = true
    ) throws(PostgresError) -> [LibPQResult] {
        guard let link else { throw PostgresError(.connectionLost, "the connection is closed") }
        var progress = PipelineProgress(commands)
        while true {
            while !link.isBusy {
                let event = link.nextResult().map { progress.take($0) } ?? progress.endCommand()
                switch event {
                case .more: continue
                case .finished: return try finish(progress, link)
                case .sessionEnded(let error): throw retire(error)
                case .outOfStep: throw lose(link)
                }
            }
            try advance(link, deadline: deadline, honoursCancellation: honoursCancellation)
        }
    }

    private func finish(_ progress: PipelineProgress, _ link: LibPQConnection) throws(PostgresError) -> [LibPQResult] {
        inTransaction.store(link.isInTransaction, ordering: .releasing)
        for (statement, serverName) in progress.unprepared {
            prepared.forget(statement, serverName: serverName)
        }
        guard let failure = progress.failure else { return progress.results }
        // The session's prepared statements no longer fit the schema, or are gone: only a new session helps.
        if failure.sqlState == .featureNotSupported || failure.sqlState == .invalidStatementName {
            throw retire(failure)
        }
        throw failure
    }

    /// One step of input and output: writes what the socket takes, waits, reads what has come. Reading goes on while
    /// there is something to write, or both sides could wait for each other with full buffers.
    private func advance(
        _ link: LibPQConnection,
        deadline: ContinuousClock.Instant,
        honoursCancellation: Bool
    ) throws(PostgresError) {
        guard let hasUnsent = link.flush() else { throw lose(link) }
        do throws(PostgresError) {
            let events = hasUnsent ? POLLIN | POLLOUT : POLLIN
            try wait(link, events: events, deadline: deadline, honoursCancellation: honoursCancellation)
        } catch {
            link.cancelRequest()?.sendInBackground()
            throw retire(error)
        }
        guard link.consumeInput() else { throw lose(link) }
    }

    /// Waits until the socket is ready.
    private func wait(
        _ link: LibPQConnection,
        events: Int32,
        deadline: ContinuousClock.Instant,
        honoursCancellation: Bool
    ) throws(PostgresError) {
        while true {
            if honoursCancellation, Task.isCancelled { throw PostgresError(.cancelled, "the task was cancelled") }
            if deadline.isPast { throw PostgresError(.timedOut, "the deadline passed") }
            var descriptor = pollfd(fd: link.descriptor, events: Int16(events), revents: 0)
            let timeout = min(deadline.pollMilliseconds, Self.slice.pollMilliseconds)
            if unsafe poll(&descriptor, 1, timeout) > 0 { return }
        }
    }

    /// Closes after trouble with the connection, and says what libpq knows about it.
    private func lose(_ link: LibPQConnection) -> PostgresError {
        let message = link.errorMessage
        return retire(PostgresError(.connectionLost, message.isEmpty ? "the protocol is out of step" : message))
    }

    private func retire(_ error: PostgresError) -> PostgresError {
        close()
        return error
    }
}
