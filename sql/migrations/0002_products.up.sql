-- Products and their stock.

CREATE TABLE products (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    description   text CHECK (char_length(description) <= 5000),
    category      text CHECK (char_length(category) BETWEEN 1 AND 100),
    price         bigint      NOT NULL CHECK (price BETWEEN 1 AND 1000000000),
    -- What the product began with: stock = initial_stock + adjustments - sold + cancelled, at any moment.
    initial_stock bigint      NOT NULL CHECK (initial_stock BETWEEN 0 AND 1000000000),
    -- The last line of defence against overselling.
    stock         bigint      NOT NULL CHECK (stock >= 0),
    status        text        NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'DISCONTINUED')),
    -- Rises with every visible change, stock included: the product's ETag.
    version       bigint      NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
)
-- stock changes with every batch and no index covers it: room for those updates on the page (HOT).
WITH (fillfactor = 70);

-- The three orders in which the list can be read, each with the id that makes it stable.
CREATE INDEX products_created_at_idx ON products (created_at, id);
CREATE INDEX products_price_idx ON products (price, id);
CREATE INDEX products_name_idx ON products (name, id);

GRANT SELECT ON products TO jumun_api;
GRANT INSERT (name, description, category, price, initial_stock, stock, created_at, updated_at) ON products
    TO jumun_api;
GRANT UPDATE (stock, version, updated_at) ON products TO jumun_api;
GRANT SELECT ON products TO jumun_aggregator, jumun_audit;
