DROP TABLE import_staged_items;
DROP TABLE import_staged_orders;
DROP TABLE import_orders;
DROP TABLE import_products;
DROP TABLE import_users;

-- What was imported stays, hence NOT VALID.
ALTER TABLE products DROP CONSTRAINT products_initial_stock_check;
ALTER TABLE products ADD CONSTRAINT products_initial_stock_check
    CHECK (initial_stock BETWEEN 0 AND 1000000000) NOT VALID;
ALTER TABLE order_items DROP CONSTRAINT order_items_line_check;
ALTER TABLE order_items ADD CONSTRAINT order_items_line_check CHECK (line BETWEEN 1 AND 50) NOT VALID;
