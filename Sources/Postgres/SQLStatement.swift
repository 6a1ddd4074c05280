/// One SQL statement of the program, with the name under which it is prepared.
///
/// Only literals can become statements, so data never gets into SQL text; it travels as `$n` parameters.
package struct SQLStatement: Sendable, Hashable {
    /// The longest name, in bytes: the server keeps 63 of it, and a variant's number must fit behind.
    package static let maximumNameLength = 48

    /// What a statement does to the transaction around it.
    enum Role: Sendable {
        case begins, commits, rollsBack, neither
    }

    /// Unique in the program; seen in `pg_prepared_statements` and in errors.
    package let name: String
    /// The SQL, with `$1`, `$2`, … for the parameters.
    package let text: String
    let role: Role

    /// Names a statement.
    ///
    /// Traps when the name is empty or longer than ``maximumNameLength``: both are literals of the program.
    package init(_ name: StaticString, _ text: StaticString) {
        precondition((1...Self.maximumNameLength).contains(name.utf8CodeUnitCount), "a statement's name is too long")
        self.name = name.description
        self.text = text.description
        role =
            switch text.description.prefix(while: \.isLetter).uppercased() {
            case "BEGIN", "START": .begins
            case "COMMIT", "END": .commits
            case "ROLLBACK", "ABORT": .rollsBack
            default: .neither
            }
    }

    /// Compares name and text.
    package static func == (left: SQLStatement, right: SQLStatement) -> Bool {
        left.name == right.name && left.text == right.text
    }

    /// Hashes the name, which is unique already.
    package func hash(into hasher: inout Hasher) {
        hasher.combine(name)
    }

    /// Starts a transaction with the session's isolation level.
    package static let begin = SQLStatement("begin", "BEGIN")
    /// Commits; the client reports ``PostgresError/Code/transactionAborted`` when the server rolls back instead.
    package static let commit = SQLStatement("commit", "COMMIT")
    /// Undoes the transaction.
    package static let rollback = SQLStatement("rollback", "ROLLBACK")
    /// Starts a read-only transaction whose statements all see the same moment.
    package static let beginReadOnlySnapshot = SQLStatement(
        "begin_read_only_snapshot",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    )
}

/// One statement of a pipeline with its parameters.
package struct PostgresStep: Sendable {
    /// What to run.
    package let statement: SQLStatement
    /// The values of `$1`, `$2`, …
    package let parameters: [PostgresValue]

    /// Pairs a statement with its parameters.
    package init(_ statement: SQLStatement, _ parameters: [PostgresValue] = []) {
        self.statement = statement
        self.parameters = parameters
    }
}
