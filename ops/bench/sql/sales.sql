-- Sales in the ledger alone, spread over some time before a moment. The same seed draws the same sales.
-- Variables: first, last (their numbers), products, seed, until, spread (an interval).

SET work_mem = '256MB';

-- Each sale is an order of one product. A few products sell most: a quarter of them half of all. Ids as UUIDv7, so that
-- the key's index grows at its end, as it does in a shop.
INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
SELECT
    (lpad(to_hex((extract(epoch FROM sold_at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n || '/' || :seed), 1, 3)
        || '8' || substr(md5(n || '/' || :seed), 4, 15))::uuid,
    product_id, 'SALE', quantity, quantity * (1000 + 10 * (product_id % 900)), sold_at
FROM (
    SELECT
        n,
        1 + floor(:products * pow(bench.fraction(n, :seed), 2))::bigint AS product_id,
        1 + floor(5 * bench.fraction(n, :seed + 1))::integer AS quantity,
        date_trunc('milliseconds', :'until'::timestamptz - interval :'spread' * bench.fraction(n, :seed + 2)) AS sold_at
    FROM generate_series(:first::bigint, :last::bigint) AS n
) AS drawn
ORDER BY sold_at, n;
