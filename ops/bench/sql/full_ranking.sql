-- What a run would have to do if it counted the window anew: one of its two lists, and nothing saved.
-- Variables: from, until.

EXPLAIN (ANALYZE, TIMING OFF, SUMMARY, FORMAT JSON)
SELECT product_id, sum(quantity) AS quantity, sum(amount) AS amount
FROM sales_ledger
WHERE sold_at >= :'from'::timestamptz AND sold_at <= :'until'::timestamptz
GROUP BY product_id
ORDER BY quantity DESC, product_id
LIMIT 1000;
