-- Who places an order, or is paid back, is a row that the same transaction moves by its version, and what is bought is a
-- row that it has locked: so a foreign key to them asks once more what is known, with a look-up and a row lock an
-- inserted row. No role of ours may delete users or products, and `orderctl audit` looks for rows that refer to none.
-- docs/decisions/0006-foreign-keys.md has the figures.
ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey;
ALTER TABLE order_items DROP CONSTRAINT order_items_product_id_fkey;
ALTER TABLE balance_history DROP CONSTRAINT balance_history_user_id_fkey;
