-- An empty shop, always the same: buyers with money, products in stock, and one product that is sold out.
-- Variables: users, products, balance, price, stock.

TRUNCATE users, products, orders, order_items, payments, balance_history, sales_ledger, outbox_events,
    order_transitions, stock_adjustments, idempotency_keys, event_deliveries, delivery_attempts, sales_hourly,
    sales_window, aggregation_runs, popular_snapshot,
    import_users, import_products, import_orders
    RESTART IDENTITY CASCADE;

INSERT INTO users (name, email, balance, version, created_at, updated_at)
SELECT 'Buyer ' || n, 'buyer-' || n || '@example.com', :balance, 1, now(), now()
FROM generate_series(1, :users) AS n;

INSERT INTO balance_history (user_id, version, id, type, amount, balance_after, created_at)
SELECT id, 1, gen_random_uuid(), 'CHARGE', :balance, :balance, now()
FROM users;

INSERT INTO products (name, price, initial_stock, stock, created_at, updated_at)
SELECT 'Product ' || n, :price, :stock, :stock, now(), now()
FROM generate_series(1, :products) AS n
UNION ALL
SELECT 'Sold out', :price, 0, 0, now(), now();

-- The filled tables alone: of a table that was vacuumed while empty the planner believes that it stays so, and reads it
-- from end to end for every foreign key.
VACUUM ANALYZE users, products, balance_history;
