/// The protocol side of one pipeline: which answer belongs to which command.
///
/// libpq ends the results of each command with a nil, and the pipeline with one sync result that has none.
struct PipelineProgress {
    enum Command {
        case prepare(SQLStatement, serverName: String, step: Int)
        case execute(SQLStatement, step: Int)

        var statement: SQLStatement {
            switch self {
            case .prepare(let statement, _, _), .execute(let statement, _): statement
            }
        }

        var step: Int {
            switch self {
            case .prepare(_, _, let step), .execute(_, let step): step
            }
        }
    }

    enum Event {
        case more
        case finished
        /// The server has ended the session.
        case sessionEnded(PostgresError)
        /// An answer that fits nothing that was asked.
        case outOfStep
    }

    private let commands: [Command]
    private var position = 0
    private(set) var results: [LibPQResult] = []
    /// The first failure; the server skips what follows it.
    private(set) var failure: PostgresError?
    /// Statements that the server does not have although they were sent for preparation.
    private(set) var unprepared: [(statement: SQLStatement, serverName: String)] = []

    init(_ commands: [Command]) {
        self.commands = commands
    }

    private var current: Command? { position < commands.count ? commands[position] : nil }

    mutating func take(_ result: LibPQResult) -> Event {
        switch result.kind {
        case .success: return takeSuccess(result)
        case .failure: return takeFailure(result)
        case .skipped:
            markUnprepared()
            return .more
        case .sync: return position == commands.count ? .finished : .outOfStep
        case .copyIn, .unexpected: return .outOfStep
        }
    }

    /// Takes libpq's nil between two commands.
    mutating func endCommand() -> Event {
        // The nil after an error of the sync itself (a deferred constraint) belongs to no command.
        guard current != nil else { return failure == nil ? .outOfStep : .more }
        position += 1
        return .more
    }

    private mutating func takeSuccess(_ result: LibPQResult) -> Event {
        switch current {
        case .prepare: return .more
        case .execute(let statement, let step):
            results.append(result)
            if statement.role == .commits, failure == nil, result.commandTag == "ROLLBACK" {
                var error = PostgresError(.transactionAborted, "the transaction had failed before", isRetryable: true)
                error.failedStep = step
                error.statement = statement.name
                failure = error
            }
            return .more
        case nil: return .outOfStep
        }
    }

    private mutating func takeFailure(_ result: LibPQResult) -> Event {
        let message = result.message
        let error = message.error(statement: current?.statement.name, step: current?.step)
        if message.endsSession { return .sessionEnded(error) }
        markUnprepared()
        if failure == nil { failure = error }
        return .more
    }

    private mutating func markUnprepared() {
        if case .prepare(let statement, let serverName, _) = current {
            unprepared.append((statement, serverName))
        }
    }
}
