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
        try await orders(.byID, [.uuidArray([id.uuid])], deadline: deadline).first
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
                .ofUser,
                [.int64(user.rawValue), state, before, count],
                deadline: deadline
            )
        }
        if status != nil {
            return try await orders(.inStatus, [state, before, count], deadline: deadline)
        }
        return try await orders(.all, [before, count], deadline: deadline)
    }

    private func orders(
        _ selection: Statements.Selection,
        _ parameters: [PostgresValue],
        deadline: ContinuousClock.Instant
    ) async throws -> [Order] {
        try await pool.withConnection(deadline: deadline) { connection in
            let heads = try await connection.query(
                Statements.selectOrders(selection),
                parameters,
                deadline: deadline
            )
            let ids = try heads.map { try $0.get("id", as: UUID.self) }
            guard !ids.isEmpty else { return [] }
            let items = try await connection.query(
                Statements.selectItems,
                [.uuidArray(ids)],
                deadline: deadline
            )
            return try OrderReader.orders(heads: heads, items: items)
        }
    }

    /// Orders from their rows and those of what is in them.
    static func orders(heads: PostgresRows, items: PostgresRows) throws -> [Order] {
        var itemsByOrder: [UUID: [OrderItem]] = [:]
        for row in items { itemsByOrder[try row.get("order_id"), default: []].append(try OrderItem(row: row)) }
        return try heads.map { try Order(head: $0, items: itemsByOrder[$0.get("id")] ?? []) }
    }

    /// How an order came to its state, from its placing on: at most one row a state; throws `PostgresError`.
    package func history(of order: Order, deadline: ContinuousClock.Instant) async throws -> [OrderTransition] {
        let placed = OrderTransition(
            orderID: order.id,
            version: 1,
            from: nil,
            // An imported order begins DELIVERED; every other one has a further version once it is no longer PAID.
            to: order.version == 1 ? order.status : .paid,
            reason: nil,
            at: order.createdAt
        )
        let later = try await pool.query(
            Statements.selectTransitions,
            [.uuid(order.id.uuid)],
            deadline: deadline
        )
        return try [placed] + later.map(OrderTransition.init(row:))
    }
}

extension OrderReader {
    enum Statements {
        /// Which orders are wanted, and in which order; each has an index of its own.
        enum Selection: CaseIterable {
            /// $1: ids.
            case byID
            /// $1: user, $2: status or null, $3: before which id, $4: how many.
            case ofUser
            /// $1: status, $2: before which id, $3: how many.
            case inStatus
            /// $1: before which id, $2: how many.
            case all
        }

        static let all = Selection.allCases.map(selectOrders) + [selectItems, selectTransitions]

        static func selectOrders(_ selection: Selection) -> SQLStatement {
            switch selection {
            case .byID:
                SQLStatement(
                    "orders_by_id",
                    """
                    SELECT o.id, o.user_id, o.status, o.total_amount, o.version, o.created_at, o.updated_at,
                        p.status AS payment_status, p.amount AS payment_amount, p.paid_at
                    FROM orders o
                    JOIN payments p ON p.order_id = o.id
                    WHERE o.id = ANY ($1)
                    """
                )
            case .ofUser:
                SQLStatement(
                    "orders_of_user",
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
            case .inStatus:
                SQLStatement(
                    "orders_in_status",
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
            case .all:
                SQLStatement(
                    "orders_newest",
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
            }
        }

        static let selectTransitions = SQLStatement(
            "order_transitions_select",
            """
            SELECT order_id, version, from_status, to_status, reason, changed_at
            FROM order_transitions
            WHERE order_id = $1
            ORDER BY version
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

extension OrderTransition {
    fileprivate init(row: PostgresRow) throws {
        self.init(
            orderID: try row.orderID("order_id"),
            version: Int(try row.get("version", as: Int32.self)),
            from: try row.choice("from_status") as OrderStatus,
            to: try row.choice("to_status"),
            reason: try row.get("reason"),
            at: try row.get("changed_at")
        )
    }
}
