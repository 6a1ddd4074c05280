-- The outbox: one row for every change of an order, committed with it, never updated.
--
-- The relay's cursor is a pg_snapshot: a batch is what is visible in `target` and was not in `base` (the algorithm of
-- PgQ). So no event is skipped when a lower id commits later, and none waits for a slow writer.

CREATE TABLE outbox_events (
    -- No cache: within one order's transactions ids must rise with the sequence.
    id          bigint GENERATED ALWAYS AS IDENTITY,
    txid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    -- Events of one order share a shard; a shard has one relay at a time.
    shard       smallint    NOT NULL CHECK (shard BETWEEN 0 AND 7),
    -- UUIDv7: the CloudEvents id and the AMQP message id.
    event_id    uuid        NOT NULL,
    order_id    uuid        NOT NULL,
    sequence    integer     NOT NULL CHECK (sequence >= 1),
    type        text        NOT NULL
        CHECK (type IN ('order.paid.v1', 'order.cancelled.v1', 'order.status-changed.v1')),
    occurred_at timestamptz NOT NULL,
    traceparent text,
    -- The order as the API gives it; json keeps the bytes as they were written.
    data        json        NOT NULL,
    -- A change of state has one event; also the way to an order's events.
    PRIMARY KEY (order_id, sequence)
);

-- How the relay finds a batch: the rows of its shard from the transactions since the last one. With what it includes
-- a page is chosen from the index alone, however large the backlog; only the page's own rows are then read.
CREATE INDEX outbox_events_shard_txid_idx ON outbox_events (shard, txid) INCLUDE (id, order_id, sequence);

CREATE TABLE outbox_cursors (
    shard      smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 7),
    -- All that is visible in `base` is confirmed; of what `target` sees beyond it, all up to `after_id`.
    base       pg_snapshot NOT NULL,
    target     pg_snapshot NOT NULL,
    after_id   bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL
)
-- Eight rows that change all day: room for many versions on the page.
WITH (fillfactor = 10);

INSERT INTO outbox_cursors (shard, base, target, updated_at)
SELECT shard, pg_current_snapshot(), pg_current_snapshot(), now()
FROM generate_series(0, 7) AS shard;

-- The relay lives in the order-api's process.
GRANT SELECT, INSERT ON outbox_events TO jumun_api;
GRANT SELECT ON outbox_cursors TO jumun_api;
GRANT UPDATE (base, target, after_id, updated_at) ON outbox_cursors TO jumun_api;
GRANT SELECT ON outbox_events, outbox_cursors TO jumun_audit;
