-- Rows that are only ever written together with their order, in the same transaction, need no foreign key to it: nobody
-- may delete an order (no role has DELETE), and `orderctl audit` looks for rows without one. Each such check costs a
-- look-up and a row lock an inserted row; docs/decisions/0006-foreign-keys.md has the figures. What refers to things of
-- the world outside (users, products) keeps its keys.
ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey;
ALTER TABLE payments DROP CONSTRAINT payments_order_id_fkey;
ALTER TABLE balance_history DROP CONSTRAINT balance_history_order_id_fkey;
ALTER TABLE sales_ledger DROP CONSTRAINT sales_ledger_order_id_fkey;
ALTER TABLE sales_ledger DROP CONSTRAINT sales_ledger_product_id_fkey;

-- That a product stands in an order once is kept by the primary key of the order's sales already.
ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_product_id_key;
