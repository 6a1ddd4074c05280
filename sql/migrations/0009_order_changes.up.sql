-- What happens to an order after it was placed, and to a stock beside its sales.

-- Every change of state after the first: an order is born PAID with version 1, which its own row says.
CREATE TABLE order_transitions (
    order_id    uuid        NOT NULL REFERENCES orders (id) ON DELETE RESTRICT,
    -- The order's version after the change: also the sequence of its event.
    version     integer     NOT NULL CHECK (version >= 2),
    from_status text        NOT NULL
        CHECK (from_status IN ('PAID', 'PREPARING', 'SHIPPED', 'DELIVERED', 'CANCELLED')),
    to_status   text        NOT NULL
        CHECK (to_status IN ('PAID', 'PREPARING', 'SHIPPED', 'DELIVERED', 'CANCELLED')),
    reason      text CHECK (char_length(reason) BETWEEN 1 AND 500),
    changed_at  timestamptz NOT NULL,
    PRIMARY KEY (order_id, version),
    CHECK (from_status <> to_status)
);

-- What was added to or taken from a stock otherwise than by orders.
CREATE TABLE stock_adjustments (
    id          uuid PRIMARY KEY,
    product_id  bigint      NOT NULL REFERENCES products (id) ON DELETE RESTRICT,
    delta       bigint      NOT NULL CHECK (delta <> 0),
    reason      text        NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
    stock_after bigint      NOT NULL CHECK (stock_after BETWEEN 0 AND 1000000000),
    created_at  timestamptz NOT NULL
);
CREATE INDEX stock_adjustments_product_id_idx ON stock_adjustments (product_id, id);

-- The answer's ETag is given again too.
ALTER TABLE idempotency_keys ADD COLUMN etag text;
-- Keys of requests that are no user's (the catalogue's) stand under user 0.
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_user_id_check;
ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_user_id_check CHECK (user_id >= 0);

GRANT SELECT, INSERT ON order_transitions, stock_adjustments TO jumun_api;
GRANT SELECT ON order_transitions, stock_adjustments TO jumun_audit;
GRANT UPDATE (status, version, updated_at) ON orders TO jumun_api;
GRANT UPDATE (status, refunded_at) ON payments TO jumun_api;
GRANT UPDATE (name, description, category, price, status) ON products TO jumun_api;
