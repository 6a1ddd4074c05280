package import FoundationEssentials
package import Postgres

/// Past orders of the shop that was here before: a chunk of them becomes durable as a whole, or not at all.
///
/// An imported order is DELIVERED, paid by a charge of its own right before it, so that balances stay as they are; its
/// pieces are added to the product's first stock, so that stocks stay as they are. Its time is the one of the past.
package enum ImportStore {
    /// One product in an order.
    package struct Item: Hashable, Sendable {
        package let productRef: String
        package let productName: String
        package let category: String?
        package let quantity: Int32
        /// In minor units.
        package let unitPrice: Int64

        /// Makes an item.
        package init(productRef: String, productName: String, category: String?, quantity: Int32, unitPrice: Int64) {
            self.productRef = productRef
            self.productName = productName
            self.category = category
            self.quantity = quantity
            self.unitPrice = unitPrice
        }
    }

    /// One order, checked: what the schema asks for holds.
    package struct Order: Hashable, Sendable {
        /// What it is called in the old shop.
        package let reference: String
        /// What it will be called here: of version 7, with the time of the order.
        package let id: UUID
        /// SHA-256 of what was read.
        package let fingerprint: [UInt8]
        package let userRef: String
        package let orderedAt: Date
        package let items: [Item]
        /// In minor units.
        package let total: Int64

        /// Makes an order; `total` is the sum of its items.
        package init(
            reference: String,
            id: UUID,
            fingerprint: [UInt8],
            userRef: String,
            orderedAt: Date,
            items: [Item],
            total: Int64
        ) {
            self.reference = reference
            self.id = id
            self.fingerprint = fingerprint
            self.userRef = userRef
            self.orderedAt = orderedAt
            self.items = items
            self.total = total
        }
    }

    /// What a chunk brought beside its orders.
    package struct Written: Sendable {
        package let users: Int
        package let products: Int
    }

    /// What a reference to a product stands for.
    package struct MappedProduct: Sendable {
        package let id: Int64
        /// As it is today, in minor units.
        package let price: Int64
    }

    private static let lockKey: Int64 = 7_016

    /// Takes the right to import for the session's life; whether it was free. Throws `PostgresError`.
    package static func tryLock(
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws
        -> Bool
    {
        let rows = try await connection.query(Statements.tryLock, [.int64(lockKey)], deadline: deadline)
        return try rows[0].get("locked")
    }

    /// Which of these orders were imported before, and their fingerprints; throws `PostgresError`.
    package static func known(
        _ references: [String],
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [String: [UInt8]] {
        let rows = try await connection.query(Statements.known, [.textArray(references)], deadline: deadline)
        return try Dictionary(rows.map { (try $0.get("order_ref"), try $0.get("fingerprint")) }) { first, _ in first }
    }

    /// Writes orders in one transaction; when it returns, all of it is durable.
    ///
    /// Products are locked before users, both by id, as for live orders, and both only at the end.
    /// - Parameter orders: none of them known yet; their number bounds every statement.
    /// - Throws: `PostgresError`; nothing was written, unless its code is `connectionLost` or `timedOut`: then it
    ///   cannot be known.
    package static func write(
        _ orders: [Order],
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Written {
        let results = try await transaction(
            orders,
            [
                Statements.addProducts, Statements.addUsers, Statements.insertOrders, Statements.insertItems,
                Statements.insertPayments, Statements.insertSales, Statements.insertImported, Statements.lockProducts,
                Statements.addToFirstStocks, Statements.lockUsers, Statements.insertEntries,
                Statements.updateVersions,
            ],
            on: connection,
            deadline: deadline
        )
        return Written(users: results[1].affectedRows, products: results[0].affectedRows)
    }

    /// Makes users and products for the references of these orders, and nothing else; throws `PostgresError`.
    package static func addUsersAndProducts(
        of orders: [Order],
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        _ = try await transaction(
            orders,
            [Statements.addProducts, Statements.addUsers],
            on: connection,
            deadline: deadline
        )
    }

    /// The ids behind the references of these orders, as far as they are known; throws `PostgresError`.
    package static func mapping(
        of orders: [Order],
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> (users: [String: Int64], products: [String: MappedProduct]) {
        let userRefs = Set(orders.map(\.userRef)).sorted()
        let productRefs = Set(orders.flatMap { $0.items.map(\.productRef) }).sorted()
        let results = try await connection.pipeline(
            [
                PostgresStep(Statements.users, [.textArray(userRefs)]),
                PostgresStep(Statements.products, [.textArray(productRefs)]),
            ],
            deadline: deadline
        )
        let users: [(String, Int64)] = try results[0].map { (try $0.get("user_ref"), try $0.get("user_id")) }
        let products = try results[1].map { row in
            (
                try row.get("product_ref", as: String.self),
                MappedProduct(id: try row.get("product_id"), price: try row.get("price"))
            )
        }
        return (Dictionary(users) { first, _ in first }, Dictionary(products) { first, _ in first })
    }

    /// Stages the orders, runs the statements on them, and commits; rolls back when one fails.
    ///
    /// They are staged in temporary tables: emptying tables that others see takes a lock for which a backup would let
    /// it wait, while live orders wait for the rows that it has locked.
    private static func transaction(
        _ orders: [Order],
        _ statements: [SQLStatement],
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> [PostgresRows] {
        let (heads, items) = try staged(orders)
        do {
            let tables = [
                PostgresStep(.begin), PostgresStep(Statements.orderStage), PostgresStep(Statements.itemStage),
            ]
            _ = try await connection.pipeline(tables, deadline: deadline)
            _ = try await connection.copy(Statements.stageOrders, heads, deadline: deadline)
            _ = try await connection.copy(Statements.stageItems, items, deadline: deadline)
            let steps = [Statements.settings] + statements + [.commit]
            let results = try await connection.pipeline(steps.map { PostgresStep($0) }, deadline: deadline)
            return Array(results.dropFirst())
        } catch {
            if connection.isUsable { _ = try? await connection.query(.rollback, deadline: deadline) }
            throw error
        }
    }

    private static func staged(_ orders: [Order]) throws -> (orders: PostgresCopyRows, items: PostgresCopyRows) {
        var (heads, items) = (PostgresCopyRows(), PostgresCopyRows())
        for order in orders {
            try heads.append([
                .uuid(order.id), .text(order.reference), .bytes(order.fingerprint), .text(order.userRef),
                .timestamp(order.orderedAt), .int64(order.total),
            ])
            for (index, item) in order.items.enumerated() {
                try items.append([
                    .uuid(order.id), .timestamp(order.orderedAt), .int16(Int16(clamping: index + 1)),
                    .text(item.productRef), .text(item.productName), item.category.map { .text($0) } ?? .null,
                    .int32(item.quantity), .int64(item.unitPrice),
                ])
            }
        }
        return (heads, items)
    }
}

extension ImportStore {
    enum Statements {
        static let all = [
            tryLock, known, users, products, orderStage, itemStage, stageOrders, stageItems, settings, addProducts,
            addUsers, insertOrders, insertItems, insertPayments, insertSales, insertImported, lockProducts,
            addToFirstStocks, lockUsers, insertEntries, updateVersions,
        ]

        static let tryLock = SQLStatement("import_try_lock", "SELECT pg_try_advisory_lock($1) AS locked")

        static let known = SQLStatement(
            "import_known",
            """
            SELECT order_ref, fingerprint
            FROM import_orders
            WHERE order_ref = ANY ($1)
            """
        )

        static let users = SQLStatement(
            "import_users_select",
            """
            SELECT user_ref, user_id
            FROM import_users
            WHERE user_ref = ANY ($1)
            """
        )

        static let products = SQLStatement(
            "import_products_select",
            """
            SELECT m.product_ref, m.product_id, p.price
            FROM import_products m
            JOIN products p ON p.id = m.product_id
            WHERE m.product_ref = ANY ($1)
            """
        )

        /// The session's own, which hides the schema's of the same name and columns, until the transaction ends.
        static let orderStage = SQLStatement(
            "import_order_stage",
            "CREATE TEMPORARY TABLE import_staged_orders (LIKE import_staged_orders) ON COMMIT DROP"
        )

        static let itemStage = SQLStatement(
            "import_item_stage",
            "CREATE TEMPORARY TABLE import_staged_items (LIKE import_staged_items) ON COMMIT DROP"
        )

        static let stageOrders = SQLStatement(
            "import_stage_orders",
            """
            COPY import_staged_orders (order_id, order_ref, fingerprint, user_ref, ordered_at, total)
            FROM STDIN (FORMAT binary)
            """
        )

        static let stageItems = SQLStatement(
            "import_stage_items",
            """
            COPY import_staged_items
                (order_id, ordered_at, line, product_ref, product_name, category, quantity, unit_price)
            FROM STDIN (FORMAT binary)
            """
        )

        /// Until the transaction ends: a chunk is sorted in memory, and compiling costs more than it saves.
        static let settings = SQLStatement(
            "import_settings",
            """
            SELECT set_config('jit', 'off', true) AS compilation,
                   set_config('work_mem', '64MB', true) AS memory
            """
        )

        /// Each with the name, category and price of its newest order here. It has nothing in stock yet.
        static let addProducts = SQLStatement(
            "import_add_products",
            """
            WITH latest AS (
                SELECT DISTINCT ON (i.product_ref)
                       i.product_ref, i.product_name, i.category, i.unit_price,
                       min(i.ordered_at) OVER (PARTITION BY i.product_ref) AS created_at
                FROM import_staged_items i
                WHERE NOT EXISTS (SELECT FROM import_products m WHERE m.product_ref = i.product_ref)
                ORDER BY i.product_ref, i.ordered_at DESC, i.order_id, i.line
            ), new AS MATERIALIZED (
                SELECT nextval('products_id_seq') AS id, product_ref, product_name, category, unit_price, created_at
                FROM latest
            ), mapped AS (
                INSERT INTO import_products (product_ref, product_id)
                SELECT product_ref, id FROM new
            )
            INSERT INTO products (id, name, category, price, initial_stock, stock, created_at, updated_at)
                OVERRIDING SYSTEM VALUE
            SELECT id, product_name, category, unit_price, 0, 0, created_at, created_at
            FROM new
            """
        )

        /// Nobody has such an address (RFC 2606), and nobody can have taken it before.
        static let addUsers = SQLStatement(
            "import_add_users",
            """
            WITH new AS MATERIALIZED (
                SELECT nextval('users_id_seq') AS id, first.user_ref, first.created_at
                FROM (
                    SELECT o.user_ref, min(o.ordered_at) AS created_at
                    FROM import_staged_orders o
                    WHERE NOT EXISTS (SELECT FROM import_users m WHERE m.user_ref = o.user_ref)
                    GROUP BY o.user_ref
                    ORDER BY o.user_ref
                ) AS first
            ), mapped AS (
                INSERT INTO import_users (user_ref, user_id)
                SELECT user_ref, id FROM new
            )
            INSERT INTO users (id, name, email, created_at, updated_at) OVERRIDING SYSTEM VALUE
            SELECT id, user_ref, 'imported-' || gen_random_uuid() || '@import.invalid', created_at, created_at
            FROM new
            """
        )

        static let insertOrders = SQLStatement(
            "import_insert_orders",
            """
            INSERT INTO orders (id, user_id, status, total_amount, version, created_at, updated_at)
            SELECT o.order_id, m.user_id, 'DELIVERED', o.total, 1, o.ordered_at, o.ordered_at
            FROM import_staged_orders o
            JOIN import_users m ON m.user_ref = o.user_ref
            """
        )

        static let insertItems = SQLStatement(
            "import_insert_items",
            """
            INSERT INTO order_items (order_id, line, product_id, product_name, quantity, unit_price, amount)
            SELECT i.order_id, i.line, m.product_id, i.product_name, i.quantity, i.unit_price,
                   i.quantity * i.unit_price
            FROM import_staged_items i
            JOIN import_products m ON m.product_ref = i.product_ref
            """
        )

        static let insertPayments = SQLStatement(
            "import_insert_payments",
            """
            INSERT INTO payments (order_id, amount, status, paid_at)
            SELECT order_id, total, 'PAID', ordered_at
            FROM import_staged_orders
            """
        )

        static let insertSales = SQLStatement(
            "import_insert_sales",
            """
            INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
            SELECT i.order_id, m.product_id, 'SALE', i.quantity, i.quantity * i.unit_price, i.ordered_at
            FROM import_staged_items i
            JOIN import_products m ON m.product_ref = i.product_ref
            """
        )

        static let insertImported = SQLStatement(
            "import_insert_imported",
            """
            INSERT INTO import_orders (order_ref, order_id, fingerprint)
            SELECT order_ref, order_id, fingerprint
            FROM import_staged_orders
            """
        )

        /// By id and before the users, as every live order does it.
        static let lockProducts = SQLStatement(
            "import_lock_products",
            """
            SELECT count(*) AS locked
            FROM (
                SELECT p.id
                FROM products p
                WHERE p.id IN (
                    SELECT m.product_id
                    FROM import_staged_items i
                    JOIN import_products m ON m.product_ref = i.product_ref
                )
                ORDER BY p.id
                FOR NO KEY UPDATE
            ) AS product
            """
        )

        static let addToFirstStocks = SQLStatement(
            "import_add_to_first_stocks",
            """
            UPDATE products
            SET initial_stock = products.initial_stock + sold.quantity
            FROM (
                SELECT m.product_id, sum(i.quantity)::bigint AS quantity
                FROM import_staged_items i
                JOIN import_products m ON m.product_ref = i.product_ref
                GROUP BY m.product_id
            ) AS sold
            WHERE products.id = sold.product_id
            """
        )

        static let lockUsers = SQLStatement(
            "import_lock_users",
            """
            SELECT count(*) AS locked
            FROM (
                SELECT u.id
                FROM users u
                WHERE u.id IN (
                    SELECT m.user_id
                    FROM import_staged_orders o
                    JOIN import_users m ON m.user_ref = o.user_ref
                )
                ORDER BY u.id
                FOR NO KEY UPDATE
            ) AS account
            """
        )

        /// For each order what it costs is charged and paid: after it the balance is the one before.
        static let insertEntries = SQLStatement(
            "import_insert_entries",
            """
            INSERT INTO balance_history (user_id, version, id, type, amount, balance_after, order_id, created_at)
            SELECT p.user_id, p.version + 2 * p.number + e.number, gen_random_uuid(), e.type, e.amount,
                   e.balance_after, e.order_id, p.ordered_at
            FROM (
                SELECT u.id AS user_id, u.balance, u.version, o.order_id, o.total, o.ordered_at,
                       row_number() OVER (PARTITION BY u.id ORDER BY o.ordered_at, o.order_id) - 1 AS number
                FROM import_staged_orders o
                JOIN import_users m ON m.user_ref = o.user_ref
                JOIN users u ON u.id = m.user_id
            ) AS p
            CROSS JOIN LATERAL (VALUES
                (1, 'CHARGE', p.total, p.balance + p.total, NULL::uuid),
                (2, 'PAYMENT', -p.total, p.balance, p.order_id)
            ) AS e (number, type, amount, balance_after, order_id)
            """
        )

        static let updateVersions = SQLStatement(
            "import_update_versions",
            """
            UPDATE users
            SET version = users.version + entries.number,
                updated_at = greatest(users.updated_at, entries.latest)
            FROM (
                SELECT m.user_id, 2 * count(*) AS number, max(o.ordered_at) AS latest
                FROM import_staged_orders o
                JOIN import_users m ON m.user_ref = o.user_ref
                GROUP BY m.user_id
            ) AS entries
            WHERE users.id = entries.user_id
            """
        )
    }
}
