-- Orders, what is in them, and what was paid for them.

CREATE TABLE orders (
    -- UUIDv7, made by the process: new orders go to the end of every index.
    id           uuid PRIMARY KEY,
    user_id      bigint      NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    status       text        NOT NULL
        CHECK (status IN ('PAID', 'PREPARING', 'SHIPPED', 'DELIVERED', 'CANCELLED')),
    total_amount bigint      NOT NULL CHECK (total_amount > 0),
    -- Rises by one with every change of state: the sequence of the order's events and its ETag.
    version      integer     NOT NULL CHECK (version >= 1),
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL CHECK (updated_at >= created_at)
)
-- An order changes its state a few times in its life; status is indexed, so only part of that can stay on the page.
WITH (fillfactor = 90);

-- GET /v1/orders?userId=, newest first.
CREATE INDEX orders_user_id_idx ON orders (user_id, id DESC);
-- GET /v1/orders?status=, newest first.
CREATE INDEX orders_status_idx ON orders (status, id DESC);

CREATE TABLE order_items (
    order_id     uuid     NOT NULL REFERENCES orders (id) ON DELETE RESTRICT,
    -- The place in the basket.
    line         smallint NOT NULL CHECK (line BETWEEN 1 AND 50),
    product_id   bigint   NOT NULL REFERENCES products (id) ON DELETE RESTRICT,
    -- Name and price as they were sold.
    product_name text     NOT NULL,
    quantity     integer  NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    unit_price   bigint   NOT NULL CHECK (unit_price > 0),
    amount       bigint   NOT NULL CHECK (amount = quantity * unit_price),
    PRIMARY KEY (order_id, line),
    -- A product stands in an order once.
    UNIQUE (order_id, product_id)
);

CREATE TABLE payments (
    -- Exactly one payment an order: its key is the order's.
    order_id    uuid PRIMARY KEY REFERENCES orders (id) ON DELETE RESTRICT,
    amount      bigint      NOT NULL CHECK (amount > 0),
    status      text        NOT NULL CHECK (status IN ('PAID', 'REFUNDED')),
    paid_at     timestamptz NOT NULL,
    refunded_at timestamptz CHECK (refunded_at >= paid_at),
    CHECK ((status = 'REFUNDED') = (refunded_at IS NOT NULL))
);

GRANT SELECT, INSERT ON orders, order_items, payments TO jumun_api;
GRANT SELECT ON orders, order_items, payments TO jumun_audit;
