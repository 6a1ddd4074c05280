-- Buyers with money (as a charge in their history) and products in stock, beside whatever is there.
-- :users and :products are replaced by numbers.
BEGIN;
WITH buyer AS (
    INSERT INTO users (name, email, balance, version, created_at, updated_at)
    SELECT 'Chaos ' || n, 'chaos-' || n || '@example.com', 1000000000, 1, now(), now()
    FROM generate_series(1, :users) AS n
    RETURNING id
)
INSERT INTO balance_history (user_id, version, id, type, amount, balance_after, created_at)
SELECT id, 1, gen_random_uuid(), 'CHARGE', 1000000000, 1000000000, now()
FROM buyer;
INSERT INTO products (name, category, price, initial_stock, stock, created_at, updated_at)
SELECT 'Chaos ' || n, 'chaos', 1000, 100000000, 100000000, now(), now()
FROM generate_series(1, :products) AS n;
COMMIT;
