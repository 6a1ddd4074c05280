package import FoundationEssentials
package import OrderDomain
package import Postgres

/// Users, and what has become of their balances.
package struct UserStore: Sendable {
    /// The address belongs to another user already.
    package struct EmailTaken: Error {}

    private let pool: PostgresPool

    /// Reads and writes through `pool`.
    package init(_ pool: PostgresPool) {
        self.pool = pool
    }

    /// Adds a user without a balance.
    ///
    /// - Throws: ``EmailTaken``, or `PostgresError`.
    package func create(
        name: String,
        email: String,
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws -> User {
        do {
            let rows = try await pool.transaction(deadline: deadline) { connection in
                try await connection.query(
                    Statements.insertUser,
                    [.text(name), .text(email), .timestamp(now)],
                    deadline: deadline
                )
            }
            return try rows.map(User.init(row:))[0]
        } catch let error as PostgresError where error.sqlState == .uniqueViolation {
            throw EmailTaken()
        }
    }

    /// The user with this id, or nil; throws `PostgresError`.
    package func find(_ id: UserID, deadline: ContinuousClock.Instant) async throws -> User? {
        try await pool.query(Statements.selectUser, [.int64(id.rawValue)], deadline: deadline)
            .first.map(User.init(row:))
    }

    /// A page of a user's balance history, newest first; throws `PostgresError`.
    ///
    /// - Parameters:
    ///   - kind: only entries of this kind, if given.
    ///   - version: only entries older than this one, if given.
    ///   - limit: how many at most.
    package func history(
        of user: UserID,
        kind: BalanceEntry.Kind?,
        olderThan version: Int64?,
        limit: Int,
        deadline: ContinuousClock.Instant
    ) async throws -> [BalanceEntry] {
        try await pool.query(
            Statements.selectBalanceHistory,
            [
                .int64(user.rawValue),
                kind.map { .text($0.rawValue) } ?? .null,
                .int64(version ?? Int64.max),
                .int64(Int64(limit)),
            ],
            deadline: deadline
        )
        .map(BalanceEntry.init(row:))
    }
}

extension UserStore {
    enum Statements {
        static let all = [insertUser, selectUser, selectBalanceHistory]

        static let insertUser = SQLStatement(
            "user_insert",
            """
            INSERT INTO users (name, email, created_at, updated_at)
            VALUES ($1, $2, $3, $3)
            RETURNING id, name, email, balance, version, created_at, updated_at
            """
        )

        static let selectUser = SQLStatement(
            "user_select",
            """
            SELECT id, name, email, balance, version, created_at, updated_at
            FROM users
            WHERE id = $1
            """
        )

        static let selectBalanceHistory = SQLStatement(
            "balance_history_select",
            """
            SELECT id, user_id, version, type, amount, balance_after, order_id, created_at
            FROM balance_history
            WHERE user_id = $1 AND ($2::text IS NULL OR type = $2) AND version < $3
            ORDER BY version DESC
            LIMIT $4
            """
        )
    }
}

extension User {
    init(row: PostgresRow) throws {
        self.init(
            id: try row.userID("id"),
            name: try row.get("name"),
            email: try row.get("email"),
            balance: try row.money("balance"),
            version: try row.get("version"),
            createdAt: try row.get("created_at"),
            updatedAt: try row.get("updated_at")
        )
    }
}

extension BalanceEntry {
    init(row: PostgresRow) throws {
        self.init(
            id: try row.get("id"),
            userID: try row.userID("user_id"),
            version: try row.get("version"),
            kind: try row.choice("type"),
            amount: try row.money("amount"),
            balanceAfter: try row.money("balance_after"),
            orderID: try row.get("order_id", as: UUID?.self).map(OrderID.init),
            createdAt: try row.get("created_at")
        )
    }
}
