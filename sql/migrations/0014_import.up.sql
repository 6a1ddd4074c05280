-- Past orders of the shop that was here before Jumun; see docs/import.md.

-- Which of ours the old shop's references are.
CREATE TABLE import_users (
    user_ref text   PRIMARY KEY,
    user_id  bigint NOT NULL UNIQUE REFERENCES users (id) ON DELETE RESTRICT
);
CREATE TABLE import_products (
    product_ref text   PRIMARY KEY,
    product_id  bigint NOT NULL UNIQUE REFERENCES products (id) ON DELETE RESTRICT
);
-- An order that stands here was imported: it is born DELIVERED, and no event tells of it.
CREATE TABLE import_orders (
    order_ref   text  PRIMARY KEY,
    order_id    uuid  NOT NULL UNIQUE,
    -- SHA-256 of what the lines said; the same reference with other lines is refused.
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32)
);

-- Where COPY puts a chunk; emptied by the same transaction, so that nobody ever sees a row. What a crash loses of them
-- had not been committed.
CREATE UNLOGGED TABLE import_staged_orders (
    order_id    uuid        NOT NULL,
    order_ref   text        NOT NULL,
    fingerprint bytea       NOT NULL,
    user_ref    text        NOT NULL,
    ordered_at  timestamptz NOT NULL,
    total       bigint      NOT NULL
);
CREATE UNLOGGED TABLE import_staged_items (
    order_id     uuid        NOT NULL,
    ordered_at   timestamptz NOT NULL,
    line         smallint    NOT NULL,
    product_ref  text        NOT NULL,
    product_name text        NOT NULL,
    category     text,
    quantity     integer     NOT NULL,
    unit_price   bigint      NOT NULL
);

-- A basket of the past may be larger than what the API takes today.
ALTER TABLE order_items DROP CONSTRAINT order_items_line_check;
ALTER TABLE order_items ADD CONSTRAINT order_items_line_check CHECK (line BETWEEN 1 AND 1000);
-- What was sold in the past was there in the beginning: years of sales may be more than a shelf holds.
ALTER TABLE products DROP CONSTRAINT products_initial_stock_check;
ALTER TABLE products ADD CONSTRAINT products_initial_stock_check CHECK (initial_stock >= 0);

GRANT SELECT ON import_users, import_products, import_orders TO jumun_audit;
