package import FoundationEssentials
package import OrderDomain
package import Postgres

/// What was answered under an idempotency key, to be given again.
package struct RememberedAnswer: Hashable, Sendable {
    package let status: Int
    package let location: String?
    package let contentType: String
    /// The value of `ETag`, with its quotes.
    package let etag: String?
    package let body: String

    /// Makes an answer.
    package init(status: Int, location: String?, contentType: String, etag: String? = nil, body: String) {
        self.status = status
        self.location = location
        self.contentType = contentType
        self.etag = etag
        self.body = body
    }
}

/// An event that is committed with the change it tells of.
package struct OutboxEvent: Hashable, Sendable {
    package let id: UUID
    package let orderID: OrderID
    /// The order's own count of its events, from 1.
    package let sequence: Int
    package let type: String
    package let occurredAt: Date
    package let traceparent: String?
    /// The event's data in JSON, ready to be sent.
    package let data: String

    /// Makes an event.
    package init(
        id: UUID,
        orderID: OrderID,
        sequence: Int,
        type: String,
        occurredAt: Date,
        traceparent: String?,
        data: String
    ) {
        self.id = id
        self.orderID = orderID
        self.sequence = sequence
        self.type = type
        self.occurredAt = occurredAt
        self.traceparent = traceparent
        self.data = data
    }
}

/// The two round trips in which a batch of commands becomes durable.
///
/// 1. ``open(_:lockAccounts:keysSince:on:deadline:)`` begins a transaction, locks the batch's products (pessimistic
///    locking of the stock) and reads balances with their versions (optimistic locking of the balance).
/// 2. ``commit(_:events:answers:keysSince:on:deadline:)`` writes all rows of all orders and commits. A balance whose
///    version has moved aborts the transaction before its COMMIT.
package enum CommitStore {
    /// A batch that is open: its products are locked until ``commit(_:events:answers:keysSince:on:deadline:)``.
    package struct OpenBatch: Sendable {
        /// What `adjudicate` decides on.
        package let snapshot: Snapshot
        /// The answers behind the snapshot's remembered keys.
        package let answers: [IdempotencyKey: RememberedAnswer]
        /// What the pool is asked about when the answer to COMMIT is lost.
        package let transactionID: String
    }

    /// A balance or a key was changed by another transaction meanwhile; nothing was written.
    package struct Conflict: Error {}

    /// The first round trip.
    ///
    /// - Parameters:
    ///   - batch: the commands; their number bounds every statement.
    ///   - lockAccounts: whether to lock the users too: after a conflict, so that the second try is the last.
    ///   - keysSince: idempotency keys older than this are forgotten.
    /// - Throws: `PostgresError`; the transaction is then to be rolled back by the connection's owner.
    package static func open(
        _ batch: [Command],
        lockAccounts: Bool,
        keysSince: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws -> OpenBatch {
        let claims = batch.compactMap(\.claim)
        let products = Set(batch.flatMap(\.productIDs)).map(\.rawValue).sorted()
        let users = Set(batch.map(\.userID)).map(\.rawValue).sorted()
        let orders = Set(batch.compactMap(\.changedOrderID)).map(\.uuid)
        var steps = [
            PostgresStep(.begin),
            PostgresStep(.currentTransaction),
            PostgresStep(Statements.lockProducts, [.int64Array(products)]),
            PostgresStep(lockAccounts ? Statements.lockAccounts : Statements.readAccounts, [.int64Array(users)]),
            BatchRows.keys(claims, since: keysSince),
        ]
        if !orders.isEmpty {
            // A statement of its own behind the lock: it sees what whoever held the lock has committed.
            steps += [
                PostgresStep(Statements.lockOrders, [.uuidArray(orders)]),
                PostgresStep(OrderReader.Statements.selectOrders(.byID), [.uuidArray(orders)]),
                PostgresStep(OrderReader.Statements.selectItems, [.uuidArray(orders)]),
            ]
        }
        let results = try await connection.pipeline(steps, deadline: deadline)
        return try OpenBatch(
            transaction: results[1],
            products: results[2],
            accounts: results[3],
            keys: results[4],
            orders: orders.isEmpty ? [] : try OrderReader.orders(heads: results[6], items: results[7])
        )
    }

    /// The second round trip; when it returns, all of it is durable.
    ///
    /// - Parameters:
    ///   - adjudication: what is to be written.
    ///   - events: one for each of its orders.
    ///   - answers: what is to be remembered, by the claim it was said under.
    ///   - now: when the answers are given.
    ///   - keysSince: keys older than this may be written over.
    /// - Throws: ``Conflict`` when nothing was written because a balance or a key moved; `PostgresError` otherwise,
    ///   with code `connectionLost` or `timedOut` when it cannot be known whether the batch was committed.
    package static func commit(
        _ adjudication: Adjudication,
        events: [OutboxEvent],
        answers: [(claim: IdempotencyClaim, answer: RememberedAnswer)],
        at now: Date,
        keysSince: Date,
        on connection: PostgresConnection,
        deadline: ContinuousClock.Instant
    ) async throws {
        var steps = BatchRows.balances(adjudication)
        steps += BatchRows.stocks(adjudication, at: now)
        steps += BatchRows.orders(adjudication.orders)
        steps += BatchRows.changes(adjudication.changes)
        steps += BatchRows.entries(adjudication.entries)
        steps += BatchRows.events(events)
        steps += BatchRows.answers(answers, at: now, keysSince: keysSince)
        steps.append(PostgresStep(.commit))
        do {
            _ = try await connection.pipeline(steps, deadline: deadline)
        } catch {
            // How the statements below say that fewer rows were touched than expected.
            if error.sqlState == .divisionByZero { throw Conflict() }
            throw error
        }
    }
}

extension CommitStore.OpenBatch {
    fileprivate init(
        transaction: PostgresRows,
        products: PostgresRows,
        accounts: PostgresRows,
        keys: PostgresRows,
        orders: [Order]
    ) throws {
        var shelves: [ProductID: Snapshot.Shelf] = [:]
        for row in products {
            shelves[try row.productID("id")] = Snapshot.Shelf(
                name: try row.get("name"),
                price: try row.money("price"),
                status: try row.choice("status"),
                stock: try row.get("stock"),
                version: try row.get("version")
            )
        }
        var balances: [UserID: Snapshot.Account] = [:]
        for row in accounts {
            balances[try row.userID("id")] = Snapshot.Account(
                balance: try row.money("balance"),
                version: try row.get("version")
            )
        }
        var remembered: [IdempotencyKey: [UInt8]] = [:]
        var answers: [IdempotencyKey: RememberedAnswer] = [:]
        for row in keys {
            let key = IdempotencyKey(userID: UserID(try row.get("user_id")), key: try row.get("key"))
            remembered[key] = try row.get("fingerprint")
            answers[key] = try RememberedAnswer(row: row)
        }
        snapshot = Snapshot(
            shelves: shelves,
            accounts: balances,
            orders: Dictionary(orders.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first }),
            remembered: remembered
        )
        self.answers = answers
        transactionID = try transaction[transaction.startIndex].get("xid")
    }
}

extension RememberedAnswer {
    init(row: PostgresRow) throws {
        self.init(
            status: Int(try row.get("status", as: Int16.self)),
            location: try row.get("location"),
            contentType: try row.get("content_type"),
            etag: try row.get("etag"),
            body: try row.get("body")
        )
    }
}

extension CommitStore {
    enum Statements {
        static let all = [
            lockProducts, readAccounts, lockAccounts, lockOrders, readKeys, updateBalances, updateStocks,
            insertOrders, insertItems, insertPayments, insertSales, updateOrders, refundPayments, insertTransitions,
            insertReturns, insertEntries, insertEvents, upsertAnswers,
        ]

        /// Pessimistic locking of the stock; NO KEY, so that foreign keys to a product do not wait. Always by id, so
        /// that two batches cannot wait for each other.
        static let lockProducts = SQLStatement(
            "commit_lock_products",
            """
            SELECT id, name, price, status, stock, version
            FROM products
            WHERE id = ANY ($1)
            ORDER BY id
            FOR NO KEY UPDATE
            """
        )

        /// Optimistic locking of the balance: the version read here must still hold in `commit_update_balances`.
        static let readAccounts = SQLStatement(
            "commit_read_accounts",
            """
            SELECT id, balance, version
            FROM users
            WHERE id = ANY ($1)
            """
        )

        /// Pessimistic locking of the balance too, for the tries after a conflict: nobody can move the version now.
        static let lockAccounts = SQLStatement(
            "commit_lock_accounts",
            """
            SELECT id, balance, version
            FROM users
            WHERE id = ANY ($1)
            ORDER BY id
            FOR NO KEY UPDATE
            """
        )

        static let lockOrders = SQLStatement(
            "commit_lock_orders",
            """
            SELECT id
            FROM orders
            WHERE id = ANY ($1)
            ORDER BY id
            FOR NO KEY UPDATE
            """
        )

        static let readKeys = SQLStatement(
            "commit_read_keys",
            """
            SELECT k.user_id, k.key, k.fingerprint, k.status, k.location, k.content_type, k.etag, k.body
            FROM unnest($1::bigint[], $2::text[]) AS claim (user_id, key)
            JOIN idempotency_keys k ON k.user_id = claim.user_id AND k.key = claim.key
            WHERE k.created_at > $3
            """
        )

        /// Optimistic locking, second half: writes a balance only where its version is the one that was read. Divides
        /// by zero, and so aborts the transaction ahead of its COMMIT, when a version has moved.
        static let updateBalances = SQLStatement(
            "commit_update_balances",
            """
            WITH updated AS (
                UPDATE users
                SET balance = change.balance, version = change.version_after, updated_at = change.updated_at
                FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[])
                    AS change (id, balance, version_before, version_after, updated_at)
                WHERE users.id = change.id AND users.version = change.version_before
                RETURNING 1
            )
            SELECT 1 / (count(*) = cardinality($1))::integer AS all_versions_held
            FROM updated
            """
        )

        /// Compares no version: under pessimistic locking nobody else has touched the rows since they were read.
        static let updateStocks = SQLStatement(
            "commit_update_stocks",
            """
            UPDATE products
            SET stock = change.stock, version = products.version + 1, updated_at = $3
            FROM unnest($1::bigint[], $2::bigint[]) AS change (id, stock)
            WHERE products.id = change.id
            """
        )

        static let insertOrders = SQLStatement(
            "commit_insert_orders",
            """
            INSERT INTO orders (id, user_id, status, total_amount, version, created_at, updated_at)
            SELECT id, user_id, status, total_amount, version, created_at, updated_at
            FROM unnest(
                $1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::integer[], $6::timestamptz[],
                $7::timestamptz[]
            ) AS new (id, user_id, status, total_amount, version, created_at, updated_at)
            """
        )

        static let insertItems = SQLStatement(
            "commit_insert_items",
            """
            INSERT INTO order_items (order_id, line, product_id, product_name, quantity, unit_price, amount)
            SELECT order_id, line, product_id, product_name, quantity, unit_price, amount
            FROM unnest(
                $1::uuid[], $2::smallint[], $3::bigint[], $4::text[], $5::integer[], $6::bigint[], $7::bigint[]
            ) AS new (order_id, line, product_id, product_name, quantity, unit_price, amount)
            """
        )

        static let insertPayments = SQLStatement(
            "commit_insert_payments",
            """
            INSERT INTO payments (order_id, amount, status, paid_at)
            SELECT order_id, amount, status, paid_at
            FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::timestamptz[])
                AS new (order_id, amount, status, paid_at)
            """
        )

        static let insertSales = SQLStatement(
            "commit_insert_sales",
            """
            INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
            SELECT order_id, product_id, 'SALE', quantity, amount, sold_at
            FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::bigint[], $5::timestamptz[])
                AS new (order_id, product_id, quantity, amount, sold_at)
            """
        )

        /// One row an order, in its last state of the batch; the orders are locked.
        static let updateOrders = SQLStatement(
            "commit_update_orders",
            """
            UPDATE orders
            SET status = change.status, version = change.version, updated_at = change.updated_at
            FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::timestamptz[])
                AS change (id, status, version, updated_at)
            WHERE orders.id = change.id
            """
        )

        static let refundPayments = SQLStatement(
            "commit_refund_payments",
            """
            UPDATE payments
            SET status = 'REFUNDED', refunded_at = refund.refunded_at
            FROM unnest($1::uuid[], $2::timestamptz[]) AS refund (order_id, refunded_at)
            WHERE payments.order_id = refund.order_id
            """
        )

        static let insertTransitions = SQLStatement(
            "commit_insert_transitions",
            """
            INSERT INTO order_transitions (order_id, version, from_status, to_status, reason, changed_at)
            SELECT order_id, version, from_status, to_status, reason, changed_at
            FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
                AS new (order_id, version, from_status, to_status, reason, changed_at)
            """
        )

        /// What a cancellation takes back, at the time of the sale.
        static let insertReturns = SQLStatement(
            "commit_insert_returns",
            """
            INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
            SELECT order_id, product_id, 'CANCEL', -quantity, -amount, sold_at
            FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::bigint[], $5::timestamptz[])
                AS new (order_id, product_id, quantity, amount, sold_at)
            """
        )

        static let insertEntries = SQLStatement(
            "commit_insert_entries",
            """
            INSERT INTO balance_history (id, user_id, version, type, amount, balance_after, order_id, created_at)
            SELECT id, user_id, version, type, amount, balance_after, order_id, created_at
            FROM unnest(
                $1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::uuid[],
                $8::timestamptz[]
            ) AS new (id, user_id, version, type, amount, balance_after, order_id, created_at)
            """
        )

        static let insertEvents = SQLStatement(
            "commit_insert_events",
            """
            INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, traceparent, data)
            SELECT shard, event_id, order_id, sequence, type, occurred_at, traceparent, data
            FROM unnest(
                $1::smallint[], $2::uuid[], $3::uuid[], $4::integer[], $5::text[], $6::timestamptz[], $7::text[],
                $8::json[]
            ) AS new (shard, event_id, order_id, sequence, type, occurred_at, traceparent, data)
            """
        )

        /// A key that is too old is written over; one that another transaction has just taken is a conflict.
        static let upsertAnswers = SQLStatement(
            "commit_upsert_answers",
            """
            WITH written AS (
                INSERT INTO idempotency_keys AS kept
                    (user_id, key, fingerprint, status, location, content_type, etag, body, created_at)
                SELECT user_id, key, fingerprint, status, location, content_type, etag, body, $9
                FROM unnest(
                    $1::bigint[], $2::text[], $3::bytea[], $4::smallint[], $5::text[], $6::text[], $7::text[],
                    $8::text[]
                ) AS new (user_id, key, fingerprint, status, location, content_type, etag, body)
                ON CONFLICT (user_id, key) DO UPDATE
                SET fingerprint = excluded.fingerprint, status = excluded.status, location = excluded.location,
                    content_type = excluded.content_type, etag = excluded.etag, body = excluded.body,
                    created_at = excluded.created_at
                WHERE kept.created_at <= $10
                RETURNING 1
            )
            SELECT 1 / (count(*) = cardinality($1))::integer AS all_keys_free
            FROM written
            """
        )
    }
}
