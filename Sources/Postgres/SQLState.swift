/// A five-character SQLSTATE code of the server.
///
/// The constants are the codes that this system decides by; the whole list is appendix A of PostgreSQL's manual.
package struct SQLState: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// Five digits or capital letters.
    package let rawValue: String

    /// Wraps a code as the server sent it.
    package init(rawValue: String) {
        self.rawValue = rawValue
    }

    private init(_ rawValue: String) {
        self.rawValue = rawValue
    }

    /// The code itself.
    package var description: String { rawValue }

    /// The first two characters: the class of the condition.
    var conditionClass: Substring { rawValue.prefix(2) }

    /// Also what a plan gets that no longer fits the schema.
    package static let featureNotSupported = SQLState("0A000")
    /// A number does not fit its type.
    package static let numericValueOutOfRange = SQLState("22003")
    /// A division by zero.
    package static let divisionByZero = SQLState("22012")
    /// A function got a value that it does not take.
    package static let invalidParameterValue = SQLState("22023")
    /// Text cannot be read as the type that was asked for.
    package static let invalidTextRepresentation = SQLState("22P02")
    /// A column that must have a value has none.
    package static let notNullViolation = SQLState("23502")
    /// A referenced row is absent.
    package static let foreignKeyViolation = SQLState("23503")
    /// A row with the same key is there already.
    package static let uniqueViolation = SQLState("23505")
    /// A CHECK constraint does not hold.
    package static let checkViolation = SQLState("23514")
    /// An exclusion constraint does not hold.
    package static let exclusionViolation = SQLState("23P01")
    /// A write in a read-only transaction.
    package static let readOnlyTransaction = SQLState("25006")
    /// A statement in a transaction that has failed before.
    package static let inFailedTransaction = SQLState("25P02")
    /// A prepared statement is absent.
    package static let invalidStatementName = SQLState("26000")
    /// Another transaction was in the way; doing it all again may work.
    package static let serializationFailure = SQLState("40001")
    /// A deadlock, of which this transaction is the victim.
    package static let deadlockDetected = SQLState("40P01")
    /// SQL that cannot be parsed.
    package static let syntaxError = SQLState("42601")
    /// The role may not do this.
    package static let insufficientPrivilege = SQLState("42501")
    /// A column is absent.
    package static let undefinedColumn = SQLState("42703")
    /// A table is absent.
    package static let undefinedTable = SQLState("42P01")
    /// A table of that name is there already.
    package static let duplicateTable = SQLState("42P07")
    /// The server's disk is full.
    package static let diskFull = SQLState("53100")
    /// The server takes no more sessions.
    package static let tooManyConnections = SQLState("53300")
    /// A lock was not free (NOWAIT, lock_timeout).
    package static let lockNotAvailable = SQLState("55P03")
    /// Cancelled on request, or by statement_timeout.
    package static let queryCanceled = SQLState("57014")
    /// Ended by an administrator.
    package static let adminShutdown = SQLState("57P01")
    /// Ended because another session crashed.
    package static let crashShutdown = SQLState("57P02")
    /// The server is starting or stopping.
    package static let cannotConnectNow = SQLState("57P03")
    /// RAISE in a function of the database.
    package static let raiseException = SQLState("P0001")
}
