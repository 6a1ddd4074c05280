-- An order as textbooks place it: ten statements in one transaction, rows locked with FOR UPDATE before they change.
\set buyer random(1, :users)
\set product random(1, :products)
BEGIN;
SELECT name, price FROM products WHERE id = :product AND status = 'ACTIVE' FOR UPDATE \gset product_
SELECT balance - :product_price AS balance, version + 1 AS version FROM users WHERE id = :buyer FOR UPDATE \gset buyer_
UPDATE products SET stock = stock - 1, version = version + 1, updated_at = now() WHERE id = :product;
UPDATE users SET balance = :buyer_balance, version = :buyer_version, updated_at = now() WHERE id = :buyer;
INSERT INTO orders (id, user_id, status, total_amount, version, created_at, updated_at)
VALUES (bench.new_id(), :buyer, 'PAID', :product_price, 1, now(), now())
RETURNING id \gset order_
INSERT INTO order_items (order_id, line, product_id, product_name, quantity, unit_price, amount)
VALUES (:order_id, 1, :product, :product_name, 1, :product_price, :product_price);
INSERT INTO payments (order_id, amount, status, paid_at)
VALUES (:order_id, :product_price, 'PAID', now());
INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
VALUES (:order_id, :product, 'SALE', 1, :product_price, now());
INSERT INTO balance_history (user_id, version, id, type, amount, balance_after, order_id, created_at)
VALUES (:buyer, :buyer_version, bench.new_id(), 'PAYMENT', -(:product_price::bigint), :buyer_balance, :order_id, now());
INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
VALUES (get_byte(uuid_send(:order_id::uuid), 15) % 8, bench.new_id(), :order_id::uuid, 1, 'order.paid.v1', now(),
    bench.event_data(:order_id::uuid, :buyer, :product, :product_name, :product_price));
COMMIT;
