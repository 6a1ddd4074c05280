-- Sales and the ranking of three days that is kept from them.

-- One signed row an order item. A cancellation is a negative row with the sale's own time, so that both leave the
-- window together.
CREATE TABLE sales_ledger (
    order_id   uuid        NOT NULL REFERENCES orders (id) ON DELETE RESTRICT,
    product_id bigint      NOT NULL REFERENCES products (id) ON DELETE RESTRICT,
    kind       text        NOT NULL CHECK (kind IN ('SALE', 'CANCEL')),
    quantity   integer     NOT NULL CHECK (quantity <> 0),
    amount     bigint      NOT NULL CHECK (amount <> 0),
    sold_at    timestamptz NOT NULL,
    txid       xid8        NOT NULL DEFAULT pg_current_xact_id(),
    -- A product of an order is sold once and taken back once.
    PRIMARY KEY (order_id, product_id, kind),
    CHECK ((kind = 'SALE') = (quantity > 0) AND (kind = 'SALE') = (amount > 0))
);

-- How a run finds what is new: the rows from the transactions since the last run.
CREATE INDEX sales_ledger_txid_idx ON sales_ledger (txid);
-- For rebuilding a window; rows come nearly in the order of time.
CREATE INDEX sales_ledger_sold_at_idx ON sales_ledger USING brin (sold_at);

-- Sales of one UTC hour; what is subtracted when the hour leaves the window.
CREATE TABLE sales_hourly (
    hour       timestamptz NOT NULL CHECK (date_trunc('hour', hour AT TIME ZONE 'UTC') = hour AT TIME ZONE 'UTC'),
    product_id bigint      NOT NULL REFERENCES products (id) ON DELETE RESTRICT,
    quantity   bigint      NOT NULL CHECK (quantity >= 0),
    amount     bigint      NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (hour, product_id)
)
-- The current hour's rows change with every run.
WITH (fillfactor = 70);

-- Sales of the whole window. No index on quantity: it would be rewritten by every run and read by one scan.
CREATE TABLE sales_window (
    product_id bigint PRIMARY KEY REFERENCES products (id) ON DELETE RESTRICT,
    quantity   bigint NOT NULL CHECK (quantity >= 0),
    amount     bigint NOT NULL CHECK (amount >= 0)
)
WITH (fillfactor = 50);

-- One row a committed run: its input, progress and result are one transaction.
CREATE TABLE aggregation_runs (
    -- The fencing number of what the run publishes.
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trigger          text        NOT NULL CHECK (trigger IN ('manual', 'schedule')),
    as_of            timestamptz NOT NULL,
    window_from      timestamptz NOT NULL,
    window_to        timestamptz NOT NULL CHECK (window_to > window_from),
    -- The ledger rows of this run are those visible in target and not in base.
    base             pg_snapshot NOT NULL,
    target           pg_snapshot NOT NULL,
    rows_read        bigint      NOT NULL CHECK (rows_read >= 0),
    products_touched bigint      NOT NULL CHECK (products_touched >= 0),
    started_at       timestamptz NOT NULL,
    finished_at      timestamptz NOT NULL CHECK (finished_at >= started_at),
    -- When it reached Redis; null while it has not.
    published_at     timestamptz
);

-- The list of a run, from which the API answers while Redis cannot.
CREATE TABLE popular_snapshot (
    run_id     bigint  NOT NULL REFERENCES aggregation_runs (id) ON DELETE CASCADE,
    ranking    text    NOT NULL CHECK (ranking IN ('quantity', 'amount')),
    rank       integer NOT NULL CHECK (rank BETWEEN 1 AND 1000),
    product_id bigint  NOT NULL REFERENCES products (id) ON DELETE RESTRICT,
    quantity   bigint  NOT NULL CHECK (quantity > 0),
    amount     bigint  NOT NULL CHECK (amount > 0),
    PRIMARY KEY (run_id, ranking, rank),
    UNIQUE (run_id, ranking, product_id)
);

GRANT SELECT, INSERT ON sales_ledger TO jumun_api;
GRANT SELECT ON aggregation_runs, popular_snapshot TO jumun_api;
GRANT SELECT ON sales_ledger TO jumun_aggregator;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales_hourly, sales_window TO jumun_aggregator;
GRANT SELECT, INSERT ON aggregation_runs TO jumun_aggregator;
GRANT UPDATE (published_at) ON aggregation_runs TO jumun_aggregator;
GRANT SELECT, INSERT, DELETE ON popular_snapshot TO jumun_aggregator;
GRANT SELECT ON sales_ledger, sales_hourly, sales_window, aggregation_runs, popular_snapshot TO jumun_audit;
