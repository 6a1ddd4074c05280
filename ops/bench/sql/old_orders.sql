-- Orders of the last 30 days whose events are published, in an empty shop made by shop.sql.
-- Variables: users, products, price, orders.

SET work_mem = '256MB';
SET maintenance_work_mem = '512MB';
-- The rows refer to each other by construction: looking up every foreign key would take most of the time.
SET session_replication_role = replica;

BEGIN;

-- Every buyer in turn, and every product as often; ids as UUIDv7.
CREATE TEMPORARY TABLE old ON COMMIT DROP AS
SELECT
    n,
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid AS id,
    1 + (n - 1) % :users AS user_id,
    1 + (n * 7919 + n / :users) % :products AS product_id,
    -- Version 1 of each buyer is the charge.
    2 + (n - 1) / :users AS version,
    at
FROM generate_series(1, :orders::bigint) AS n
CROSS JOIN LATERAL (SELECT now() - interval '30 days' * (1 - n::float8 / :orders) AS at) AS time;

INSERT INTO orders (id, user_id, status, total_amount, version, created_at, updated_at)
SELECT id, user_id, 'PAID', :price, 1, at, at FROM old ORDER BY n;

INSERT INTO order_items (order_id, line, product_id, product_name, quantity, unit_price, amount)
SELECT id, 1, product_id, 'Product ' || product_id, 1, :price, :price FROM old ORDER BY n;

INSERT INTO payments (order_id, amount, status, paid_at)
SELECT id, :price, 'PAID', at FROM old ORDER BY n;

INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
SELECT id, product_id, 'SALE', 1, :price, at FROM old ORDER BY n;

INSERT INTO balance_history (user_id, version, id, type, amount, balance_after, order_id, created_at)
SELECT old.user_id, old.version, gen_random_uuid(), 'PAYMENT', -:price, users.balance - :price * (old.version - 1),
    old.id, at
FROM old JOIN users ON users.id = old.user_id ORDER BY n;

INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
SELECT get_byte(uuid_send(id), 15) % 8, gen_random_uuid(), id, 1, 'order.paid.v1', at,
    bench.event_data(id, user_id, product_id, 'Product ' || product_id, :price)
FROM old ORDER BY n;

UPDATE users SET balance = balance - :price * sold.count, version = version + sold.count
FROM (SELECT user_id, count(*) FROM old GROUP BY user_id) AS sold
WHERE users.id = sold.user_id;

UPDATE products SET stock = stock - sold.count
FROM (SELECT product_id, count(*) FROM old GROUP BY product_id) AS sold
WHERE products.id = sold.product_id;

COMMIT;

-- All events so far count as published.
INSERT INTO outbox_acks (shard, slot, n, base, target, after_id, last_id, epoch, at)
SELECT shard, outbox_slot(now()), max(n) + 1, pg_current_snapshot(), pg_current_snapshot(), 0,
    coalesce((SELECT max(id) FROM outbox_events), 0), outbox_epoch(), now()
FROM outbox_acks
GROUP BY shard;

VACUUM ANALYZE;
