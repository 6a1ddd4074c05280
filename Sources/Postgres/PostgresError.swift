/// Why a call to the database failed.
///
/// Match on ``code`` and ``sqlState``, never on text. ``description`` is safe for a log or an operator: it never has a
/// parameter's value or a password in it. ``debugDescription`` adds the server's own words, which may quote data.
package struct PostgresError: Error, Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    /// What kind of failure it was; the raw value is stable, for logs and metrics.
    package enum Code: String, Sendable, Hashable {
        /// The server could not be reached, or refused the session.
        case connectFailed = "connect_failed"
        /// The session ended while it was needed; what was sent last may or may not have been done.
        case connectionLost = "connection_lost"
        /// The deadline passed; the connection is closed if anything had been sent.
        case timedOut = "timed_out"
        /// The task was cancelled; the connection is closed if anything had been sent.
        case cancelled = "cancelled"
        /// The server answered with an error, see ``PostgresError/sqlState``.
        case server = "server"
        /// Too many callers wait for a connection already.
        case poolExhausted = "pool_exhausted"
        /// The pool has been closed.
        case poolClosed = "pool_closed"
        /// The connection's settings are wrong.
        case invalidConfiguration = "invalid_configuration"
        /// A parameter cannot be sent; nothing has been sent.
        case invalidParameter = "invalid_parameter"
        /// A row does not hold what was asked of it.
        case decoding = "decoding"
        /// COMMIT did not commit: nothing of the transaction took effect.
        case transactionAborted = "transaction_aborted"
        /// The answer to COMMIT was lost, and the outcome could not be found out in time.
        case commitOutcomeUnknown = "commit_outcome_unknown"
    }

    /// The kind of failure, to decide by.
    package let code: Code
    /// What happened, in words that are safe to show.
    package let message: String
    /// The server's code, where the server spoke.
    package internal(set) var sqlState: SQLState?
    /// The constraint that was violated.
    package internal(set) var constraint: String?
    /// The table that the error is about.
    package internal(set) var table: String?
    /// The column that the error is about.
    package internal(set) var column: String?
    /// Which step of a pipeline failed, counted from 0; the steps after it were not run.
    package internal(set) var failedStep: Int?
    /// Whether the same work can simply be done again: it is certain that nothing of it took effect, and another try
    /// may succeed.
    package internal(set) var isRetryable: Bool
    /// The name of the statement that failed.
    package internal(set) var statement: String?
    /// The server's own words; may quote data, so it is for debugging only.
    package internal(set) var detail: String?

    init(_ code: Code, _ message: String, isRetryable: Bool = false) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
    }

    /// The code, the SQLSTATE and a message, without any data.
    package var description: String {
        var text = "postgres \(code.rawValue)"
        if let sqlState { text += " \(sqlState)" }
        text += ": \(message)"
        if let constraint { text += " (constraint \(constraint))" }
        return text
    }

    /// The description with step, statement and the server's own words; may quote data.
    package var debugDescription: String {
        var text = description
        if let statement { text += " [statement \(statement)]" }
        if let failedStep { text += " [step \(failedStep)]" }
        if let table { text += " [table \(table)]" }
        if let column { text += " [column \(column)]" }
        if let detail { text += " [\(detail)]" }
        return text
    }
}

/// The fields of an error message of the server.
struct ServerMessage {
    let severity: String
    let sqlState: SQLState
    let primary: String
    let detail: String?
    let context: String?
    let constraint: String?
    let table: String?
    let column: String?

    /// Whether the server ends the session with this message.
    var endsSession: Bool { severity == "FATAL" || severity == "PANIC" }

    /// The primary text, unless it is of a class that quotes data: data exceptions (22) and PL/pgSQL's RAISE (P0).
    private var safeText: String {
        switch sqlState.conditionClass {
        case "22": "the server refused a value"
        case "P0": "a function of the database raised an error"
        default: primary
        }
    }

    func error(statement: String?, step: Int?) -> PostgresError {
        let code: PostgresError.Code = endsSession ? .connectionLost : .server
        var error = PostgresError(code, safeText, isRetryable: !endsSession && Self.retryable.contains(sqlState))
        error.sqlState = sqlState
        error.constraint = constraint
        error.table = table
        error.column = column
        error.statement = statement
        error.failedStep = step
        error.detail = [primary, detail, context].compactMap(\.self).joined(separator: "; ")
        return error
    }

    /// Another transaction was in the way, or the server was short of something for a moment.
    private static let retryable: Set<SQLState> = [
        .serializationFailure, .deadlockDetected, .lockNotAvailable, .tooManyConnections, .cannotConnectNow,
    ]
}
