-- One line for each rule that the tables break, with how often; nothing when all is right. Orders here are only placed.

SET work_mem = '256MB';

WITH counts (rule, violations) AS (
    SELECT 'a balance is the sum of its history', count(*)
    FROM users u
    LEFT JOIN (SELECT user_id, sum(amount) AS total FROM balance_history GROUP BY user_id) h ON h.user_id = u.id
    WHERE u.balance IS DISTINCT FROM coalesce(h.total, 0)
    UNION ALL
    SELECT 'a stock is what it began with minus what was sold', count(*)
    FROM products p
    LEFT JOIN (SELECT product_id, sum(quantity) AS total FROM order_items GROUP BY product_id) i ON i.product_id = p.id
    WHERE p.stock IS DISTINCT FROM p.initial_stock - coalesce(i.total, 0)
    UNION ALL
    SELECT 'an order''s total is that of its items', count(*)
    FROM orders o
    FULL JOIN (SELECT order_id, sum(amount) AS total FROM order_items GROUP BY order_id) i ON i.order_id = o.id
    WHERE o.total_amount IS DISTINCT FROM i.total
    UNION ALL
    SELECT 'an order has one payment of its total', count(*)
    FROM orders o FULL JOIN payments p ON p.order_id = o.id
    WHERE o.total_amount IS DISTINCT FROM p.amount
    UNION ALL
    SELECT 'an order has one history row of minus its total', count(*)
    FROM orders o
    FULL JOIN (SELECT order_id, amount FROM balance_history WHERE type = 'PAYMENT') h ON h.order_id = o.id
    WHERE -o.total_amount IS DISTINCT FROM h.amount
    UNION ALL
    SELECT 'an item has one row in the sales ledger', count(*)
    FROM order_items i FULL JOIN sales_ledger s ON s.order_id = i.order_id AND s.product_id = i.product_id
    WHERE i.quantity IS DISTINCT FROM s.quantity OR i.amount IS DISTINCT FROM s.amount
    UNION ALL
    SELECT 'an order has one event', count(*)
    FROM orders o FULL JOIN outbox_events e ON e.order_id = o.id
    WHERE o.version IS DISTINCT FROM e.sequence
)
SELECT rule || ': ' || violations || ' violations'
FROM counts
WHERE violations > 0;
