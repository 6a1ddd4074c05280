import FoundationEssentials
package import OrderDomain
package import Postgres

/// Orders as they are read; they are written by ``CommitStore``.
package struct OrderReader: Sendable {
    private let pool: PostgresPool

    /// Reads through `pool`.
    package init(_ pool: PostgresPool) {
        self.pool = pool
    }

    /// The order with this id, or nil; throws `PostgresError`.
    package func find(_ id: OrderID, deadline: ContinuousClock.Instant) async throws -> Order? {
        try await orders(Statements.selectOrder, [.uuid(id.uuid)], deadline: deadline).first
    }

    /// A page of orders, newest first; throws `PostgresError`.
    ///
    /// - Parameters:
    ///   - user: only orders of this user, if given.
    ///   - status: only orders in this state, if given.
    ///   - last: only orders older than this one, if given.
    ///   - limit: how many at most.
    package func list(
        user: UserID?,
        status: OrderStatus?,
        olderThan last: OrderID?,
        limit: Int,
        deadline: ContinuousClock.Instant
    ) async throws -> [Order] {
        let before = PostgresValue.uuid(last?.uuid ?? UUID.last)
        let state = status.map { PostgresValue.text($0.rawValue) } ?? .null
        let count = PostgresValue.int64(Int64(limit))
        if let user {
            return try await orders(
                Statements.selectOrdersOfUser,
                [.int64(user.rawValue), state, before, count],
                deadline: deadline
            )
        }
        if status != nil {
            return try await orders(Statements.selectOrdersInStatus, [state, before, count], deadline: deadline)
        }
        return try await orders(Statements.selectOrders, [before, count], deadline: deadline)
    }

    private func orders(
        _ statement: SQLStatement,
        _ parameters: [PostgresValue],
        deadline: ContinuousClock.Instant
    ) async throws -> [Order] {
        try await pool.withConnection(deadline: deadline) { connection in
            let heads = try await connection.query(statement, parameters, deadline: deadline)
            let ids = try heads.map { try $0.get("id", as: UUID.self) }
            guard !ids.isEmpty else { return [] }
            let items = try await connection.query(
                Statements.selectItems,
                [.uuidArray(ids)],
                deadline: deadline
            )
            let itemsByOrder = Dictionary(grouping: items) { (try? $0.get("order_id", as: UUID.self)) ?? UUID.last }
            return try heads.map { head in
                let id = try head.get("id", as: UUID.self)
                return try Order(head: head, items: (itemsByOrder[id] ?? []).map(OrderItem.init(row:)))
            }
        }
    }
}

extension OrderReader {
    enum Statements {
        static let all = [selectOrder, selectOrdersOfUser, selectOrdersInStatus, selectOrders, selectItems]

        static let selectOrder = SQLStatement(
            "order_select",
            """
            SELECT o.id, o.user_id, o.status, o.total_amount, o.version, o.created_at, o.updated_at,
                p.status AS payment_status, p.amount AS payment_amount, p.paid_at
            FROM orders o
            JOIN payments p ON p.order_id = o.id
            WHERE o.id = $1
            """
        )

        static let selectOrdersOfUser = SQLStatement(
            "orders_of_user_select",
            """
            SELECT o.id, o.user_id, o.status, o.total_amount, o.version, o.created_at, o.updated_at,
                p.status AS payment_status, p.amount AS payment_amount, p.paid_at
            FROM orders o
            JOIN payments p ON p.order_id = o.id
            WHERE o.user_id = $1 AND ($2::text IS NULL OR o.status = $2) AND o.id < $3
            ORDER BY o.id DESC
            LIMIT $4
            """
        )

        static let selectOrdersInStatus = SQLStatement(
            "orders_in_status_select",
            """
            SELECT o.id, o.user_id, o.status, o.total_amount, o.version, o.created_at, o.updated_at,
                p.status AS payment_status, p.amount AS payment_amount, p.paid_at
            FROM orders o
            JOIN payments p ON p.order_id = o.id
            WHERE o.status = $1 AND o.id < $2
            ORDER BY o.id DESC
            LIMIT $3
            """
        )

        static let selectOrders = SQLStatement(
            "orders_select",
            """
            SELECT o.id, o.user_id, o.status, o.total_amount, o.version, o.created_at, o.updated_at,
                p.status AS payment_status, p.amount AS payment_amount, p.paid_at
            FROM orders o
            JOIN payments p ON p.order_id = o.id
            WHERE o.id < $1
            ORDER BY o.id DESC
            LIMIT $2
            """
        )

        /// At most 50 lines of each of at most 100 orders.
        static let selectItems = SQLStatement(
            "order_items_select",
            """
            SELECT order_id, product_id, product_name, quantity, unit_price, amount
            FROM order_items
            WHERE order_id = ANY ($1)
            ORDER BY order_id, line
            """
        )
    }
}

extension UUID {
    /// The one that sorts after every other.
    fileprivate static let last = UUID(
        uuid: (255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255)
    )
}

extension Order {
    fileprivate init(head: PostgresRow, items: [OrderItem]) throws {
        self.init(
            id: try head.orderID("id"),
            userID: try head.userID("user_id"),
            status: try head.choice("status"),
            items: items,
            total: try head.money("total_amount"),
            payment: Payment(
                status: try head.choice("payment_status"),
                amount: try head.money("payment_amount"),
                paidAt: try head.get("paid_at")
            ),
            version: Int(try head.get("version", as: Int32.self)),
            createdAt: try head.get("created_at"),
            updatedAt: try head.get("updated_at")
        )
    }
}

extension OrderItem {
    fileprivate init(row: PostgresRow) throws {
        self.init(
            productID: try row.productID("product_id"),
            name: try row.get("product_name"),
            quantity: try row.quantity("quantity"),
            unitPrice: try row.money("unit_price"),
            amount: try row.money("amount")
        )
    }
}
