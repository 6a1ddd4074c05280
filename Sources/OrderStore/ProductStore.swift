package import FoundationEssentials
package import OrderDomain
package import Postgres

/// The catalogue.
package struct ProductStore: Sendable {
    /// How the list is sorted; the product's id always decides between equals.
    package enum Sort: String, CaseIterable, Sendable {
        case createdAt
        case createdAtDescending = "-createdAt"
        case price
        case priceDescending = "-price"
        case name
        case nameDescending = "-name"
    }

    /// What the list is narrowed to.
    package struct Filter: Sendable {
        /// A part of the name, whatever its case.
        package let nameContains: String?
        package let category: String?

        /// Makes a filter.
        package init(nameContains: String? = nil, category: String? = nil) {
            self.nameContains = nameContains
            self.category = category
        }
    }

    /// Why nothing was changed.
    package struct Refused: Error, Hashable {
        package let refusal: Refusal

        init(_ refusal: Refusal) {
            self.refusal = refusal
        }
    }

    private let pool: PostgresPool

    /// Reads and writes through `pool`.
    package init(_ pool: PostgresPool) {
        self.pool = pool
    }

    /// Adds a product; throws `PostgresError`.
    package func create(
        name: String,
        description: String?,
        category: String?,
        price: Money,
        stock: Int64,
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws -> Product {
        try await pool.transaction(deadline: deadline) { connection in
            try await ProductStore.create(
                name: name,
                description: description,
                category: category,
                price: price,
                stock: stock,
                at: now,
                on: connection,
                deadline: deadline
            )
        }
    }

    /// Adds a product, as part of the transaction that is open on `connection`; throws `PostgresError`.
    package static func create(
        name: String,
        description: String?,
        category: String?,
        price: Money,
        stock: Int64,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Product {
        let rows = try await connection.query(
            Statements.insertProduct,
            [
                .text(name),
                description.map { .text($0) } ?? .null,
                category.map { .text($0) } ?? .null,
                .int64(price.minorUnits),
                .int64(stock),
                .timestamp(now),
            ],
            deadline: deadline
        )
        return try rows.map(Product.init(row:))[0]
    }

    /// Changes what is said of a product; throws `PostgresError`.
    ///
    /// - Parameter expectedVersions: the versions in which it may be changed; nil when any will do.
    /// - Returns: the product, or why it was not changed.
    package func update(
        _ id: ProductID,
        _ changes: ProductChanges,
        expectedVersions: Set<Int64>?,
        at now: Date,
        deadline: ContinuousClock.Instant
    ) async throws -> Result<Product, Refused> {
        try await pool.transaction(deadline: deadline) { connection in
            let before = try await ProductStore.lock(id, expectedVersions, on: connection, deadline: deadline)
            guard case .success = before else { return before }
            let rows = try await connection.query(
                Statements.updateProduct,
                [
                    .int64(id.rawValue),
                    changes.name.map { .text($0) } ?? .null,
                    changes.price.map { .int64($0.minorUnits) } ?? .null,
                    changes.status.map { .text($0.rawValue) } ?? .null,
                    .bool(changes.description != nil),
                    (changes.description ?? nil).map { .text($0) } ?? .null,
                    .bool(changes.category != nil),
                    (changes.category ?? nil).map { .text($0) } ?? .null,
                    .timestamp(now),
                ],
                deadline: deadline
            )
            return .success(try rows.map(Product.init(row:))[0])
        }
    }

    /// Adds to a stock or takes from it, as part of the transaction that is open on `connection`.
    ///
    /// - Parameter expectedVersions: the versions in which it may be changed; nil when any will do.
    /// - Returns: the adjustment with the product after it, or why there was none; throws `PostgresError`.
    package static func adjustStock(
        of id: ProductID,
        by delta: Int64,
        reason: String,
        expectedVersions: Set<Int64>?,
        at now: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Result<(adjustment: StockAdjustment, product: Product), Refused> {
        let before: Product
        switch try await lock(id, expectedVersions, on: connection, deadline: deadline) {
        case .success(let product): before = product
        case .failure(let refused): return .failure(refused)
        }
        let (stock, overflow) = before.stock.addingReportingOverflow(delta)
        guard !overflow, stock <= OrderLimits.stock.upperBound else { return .failure(Refused(.amountTooLarge)) }
        guard stock >= 0 else {
            let shortage = Shortage(productID: id, requested: -delta, available: before.stock)
            return .failure(Refused(.insufficientStock([shortage])))
        }
        let adjustment = StockAdjustment(
            id: .version7(at: now),
            productID: id,
            delta: delta,
            reason: reason,
            stockAfter: stock,
            createdAt: now
        )
        let results = try await connection.pipeline(
            [
                PostgresStep(Statements.updateStock, [.int64(id.rawValue), .int64(stock), .timestamp(now)]),
                PostgresStep(
                    Statements.insertAdjustment,
                    [
                        .uuid(adjustment.id), .int64(id.rawValue), .int64(delta), .text(reason), .int64(stock),
                        .timestamp(now),
                    ]
                ),
            ],
            deadline: deadline
        )
        return .success((adjustment, try results[0].map(Product.init(row:))[0]))
    }

    /// Pessimistic locking: whoever has the row's lock is the only one who changes the stock.
    private static func lock(
        _ id: ProductID,
        _ expectedVersions: Set<Int64>?,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> Result<Product, Refused> {
        let rows = try await connection.query(Statements.lockProduct, [.int64(id.rawValue)], deadline: deadline)
        guard let product = try rows.first.map(Product.init(row:)) else {
            return .failure(Refused(.productsNotFound([id])))
        }
        if let expectedVersions, !expectedVersions.contains(product.version) {
            return .failure(Refused(.versionMismatch(current: product.version)))
        }
        return .success(product)
    }

    /// The product with this id, or nil; throws `PostgresError`.
    package func find(_ id: ProductID, deadline: ContinuousClock.Instant) async throws -> Product? {
        try await find([id], deadline: deadline).first
    }

    /// The products with these ids that exist, in no order; throws `PostgresError`.
    package func find(_ ids: [ProductID], deadline: ContinuousClock.Instant) async throws -> [Product] {
        try await pool.query(
            Statements.selectProducts,
            [.int64Array(ids.map(\.rawValue))],
            deadline: deadline
        )
        .map(Product.init(row:))
    }

    /// A page of the list, which stays where it was when products are added; throws `PostgresError`.
    ///
    /// - Parameter last: the last product of the page before.
    package func list(
        _ filter: Filter,
        sort: Sort,
        after last: Position?,
        limit: Int,
        deadline: ContinuousClock.Instant
    ) async throws -> [Product] {
        let position = last ?? .start(of: sort)
        return try await pool.query(
            Statements.list(sort),
            [
                position.value.parameter,
                .int64(position.id),
                filter.nameContains.map { .text($0) } ?? .null,
                filter.category.map { .text($0) } ?? .null,
                .int64(Int64(limit)),
            ],
            deadline: deadline
        )
        .map(Product.init(row:))
    }
}

extension ProductStore {
    /// Where a page ended: the value it was sorted by and the id.
    package struct Position: Sendable {
        /// The value that the list is sorted by.
        package enum Value: Sendable {
            case time(Date)
            case price(Int64)
            case name(String)

            var parameter: PostgresValue {
                switch self {
                case .time(let time): .timestamp(time)
                case .price(let price): .int64(price)
                case .name(let name): .text(name)
                }
            }
        }

        package let value: Value
        package let id: Int64

        /// Where `product` stands in a list that is sorted by `sort`.
        package init(of product: Product, in sort: Sort) {
            id = product.id.rawValue
            switch sort {
            case .createdAt, .createdAtDescending: value = .time(product.createdAt)
            case .price, .priceDescending: value = .price(product.price.minorUnits)
            case .name, .nameDescending: value = .name(product.name)
            }
        }

        private init(_ value: Value, _ id: Int64) {
            self.value = value
            self.id = id
        }

        /// The position from two texts of a cursor; nil when they are none of `sort`.
        package init?(_ texts: [String], in sort: Sort) {
            guard texts.count == 2, let id = Int64(texts[1]) else { return nil }
            self.id = id
            switch sort {
            case .createdAt, .createdAtDescending:
                guard let milliseconds = Int64(texts[0]), milliseconds.magnitude < 1 << 50 else { return nil }
                value = .time(Date(timeIntervalSince1970: Double(milliseconds) / 1_000))
            case .price, .priceDescending:
                guard let price = Int64(texts[0]) else { return nil }
                value = .price(price)
            case .name, .nameDescending:
                value = .name(texts[0])
            }
        }

        /// The two texts of a cursor.
        package var texts: [String] {
            switch value {
            case .time(let time): ["\(Int64((time.timeIntervalSince1970 * 1_000).rounded()))", "\(id)"]
            case .price(let price): ["\(price)", "\(id)"]
            case .name(let name): [name, "\(id)"]
            }
        }

        /// Before everything, so that the first page is a page like any other and the index serves both.
        static func start(of sort: Sort) -> Position {
            switch sort {
            case .createdAt: Position(.time(Date(timeIntervalSince1970: 0)), 0)
            case .createdAtDescending: Position(.time(Date(timeIntervalSince1970: 1e11)), .max)
            case .price: Position(.price(0), 0)
            case .priceDescending: Position(.price(.max), .max)
            case .name: Position(.name(""), 0)
            // No name is longer than 200 characters, and none of them comes after the last of Unicode.
            case .nameDescending: Position(.name(String(repeating: "\u{10FFFF}", count: 201)), .max)
            }
        }
    }

    enum Statements {
        static let all =
            [insertProduct, lockProduct, updateProduct, updateStock, insertAdjustment, selectProducts]
            + Sort.allCases.map(list)

        static let insertProduct = SQLStatement(
            "product_insert",
            """
            INSERT INTO products (name, description, category, price, initial_stock, stock, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $5, $6, $6)
            RETURNING id, name, description, category, price, stock, status, version, created_at, updated_at
            """
        )

        static let lockProduct = SQLStatement(
            "product_lock",
            """
            SELECT id, name, description, category, price, stock, status, version, created_at, updated_at
            FROM products
            WHERE id = $1
            FOR NO KEY UPDATE
            """
        )

        /// $5 and $7 say whether description and category change, since null is one of their values.
        static let updateProduct = SQLStatement(
            "product_update",
            """
            UPDATE products
            SET name = coalesce($2, name), price = coalesce($3, price), status = coalesce($4, status),
                description = CASE WHEN $5 THEN $6 ELSE description END,
                category = CASE WHEN $7 THEN $8 ELSE category END,
                version = version + 1, updated_at = greatest(updated_at, $9)
            WHERE id = $1
            RETURNING id, name, description, category, price, stock, status, version, created_at, updated_at
            """
        )

        static let updateStock = SQLStatement(
            "product_update_stock",
            """
            UPDATE products
            SET stock = $2, version = version + 1, updated_at = greatest(updated_at, $3)
            WHERE id = $1
            RETURNING id, name, description, category, price, stock, status, version, created_at, updated_at
            """
        )

        static let insertAdjustment = SQLStatement(
            "stock_adjustment_insert",
            """
            INSERT INTO stock_adjustments (id, product_id, delta, reason, stock_after, created_at)
            VALUES ($1, $2, $3, $4, $5, $6)
            """
        )

        static let selectProducts = SQLStatement(
            "products_select",
            """
            SELECT id, name, description, category, price, stock, status, version, created_at, updated_at
            FROM products
            WHERE id = ANY ($1)
            """
        )

        /// One statement an order, so that each is served by its index.
        static func list(_ sort: Sort) -> SQLStatement {
            switch sort {
            case .createdAt:
                SQLStatement(
                    "products_by_time",
                    """
                    SELECT id, name, description, category, price, stock, status, version, created_at, updated_at
                    FROM products
                    WHERE (created_at, id) > ($1, $2)
                        AND ($3::text IS NULL OR position(lower($3) IN lower(name)) > 0)
                        AND ($4::text IS NULL OR category = $4)
                    ORDER BY created_at, id
                    LIMIT $5
                    """
                )
            case .createdAtDescending:
                SQLStatement(
                    "products_by_time_desc",
                    """
                    SELECT id, name, description, category, price, stock, status, version, created_at, updated_at
                    FROM products
                    WHERE (created_at, id) < ($1, $2)
                        AND ($3::text IS NULL OR position(lower($3) IN lower(name)) > 0)
                        AND ($4::text IS NULL OR category = $4)
                    ORDER BY created_at DESC, id DESC
                    LIMIT $5
                    """
                )
            case .price:
                SQLStatement(
                    "products_by_price",
                    """
                    SELECT id, name, description, category, price, stock, status, version, created_at, updated_at
                    FROM products
                    WHERE (price, id) > ($1, $2)
                        AND ($3::text IS NULL OR position(lower($3) IN lower(name)) > 0)
                        AND ($4::text IS NULL OR category = $4)
                    ORDER BY price, id
                    LIMIT $5
                    """
                )
            case .priceDescending:
                SQLStatement(
                    "products_by_price_desc",
                    """
                    SELECT id, name, description, category, price, stock, status, version, created_at, updated_at
                    FROM products
                    WHERE (price, id) < ($1, $2)
                        AND ($3::text IS NULL OR position(lower($3) IN lower(name)) > 0)
                        AND ($4::text IS NULL OR category = $4)
                    ORDER BY price DESC, id DESC
                    LIMIT $5
                    """
                )
            case .name:
                SQLStatement(
                    "products_by_name",
                    """
                    SELECT id, name, description, category, price, stock, status, version, created_at, updated_at
                    FROM products
                    WHERE (name, id) > ($1, $2)
                        AND ($3::text IS NULL OR position(lower($3) IN lower(name)) > 0)
                        AND ($4::text IS NULL OR category = $4)
                    ORDER BY name, id
                    LIMIT $5
                    """
                )
            case .nameDescending:
                SQLStatement(
                    "products_by_name_desc",
                    """
                    SELECT id, name, description, category, price, stock, status, version, created_at, updated_at
                    FROM products
                    WHERE (name, id) < ($1, $2)
                        AND ($3::text IS NULL OR position(lower($3) IN lower(name)) > 0)
                        AND ($4::text IS NULL OR category = $4)
                    ORDER BY name DESC, id DESC
                    LIMIT $5
                    """
                )
            }
        }
    }
}

extension Product {
    init(row: PostgresRow) throws {
        self.init(
            id: try row.productID("id"),
            name: try row.get("name"),
            description: try row.get("description"),
            category: try row.get("category"),
            price: try row.money("price"),
            stock: try row.get("stock"),
            status: try row.choice("status"),
            version: try row.get("version"),
            createdAt: try row.get("created_at"),
            updatedAt: try row.get("updated_at")
        )
    }
}
