-- The outbox without a dead tuple: events and confirmations are only inserted, in four slots of six hours each, and a
-- slot that everybody is done with is emptied at once by TRUNCATE. docs/decisions/0003-outbox-snapshot-cursor.md.

-- In which slot a row of this time belongs. One slot is filled, the next one is the oldest: 12 to 24 hours old.
CREATE FUNCTION outbox_slot(at timestamptz) RETURNS smallint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (floor(date_part('epoch', at) / 21600)::bigint % 4)::smallint;

ALTER TABLE outbox_events RENAME TO outbox_events_before;
ALTER TABLE outbox_events_before RENAME CONSTRAINT outbox_events_pkey TO outbox_events_before_pkey;
ALTER INDEX outbox_events_shard_txid_idx RENAME TO outbox_events_before_shard_txid_idx;
ALTER SEQUENCE outbox_events_id_seq RENAME TO outbox_events_before_id_seq;

CREATE TABLE outbox_events (
    -- No cache: within one order's transactions ids must rise with the sequence.
    id          bigint GENERATED ALWAYS AS IDENTITY,
    txid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    -- Events of one order share a shard; a shard has one relay at a time.
    shard       smallint    NOT NULL CHECK (shard BETWEEN 0 AND 7),
    -- By the server's clock at the transaction's start, so whoever inserts need not know of it.
    slot        smallint    NOT NULL DEFAULT outbox_slot(now()),
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
    -- The way to an order's events. That a change of state has one event at all is kept by the change's own key and
    -- proved by the audit: a key over all slots is not to be had.
    PRIMARY KEY (order_id, sequence, slot)
) PARTITION BY LIST (slot);
CREATE TABLE outbox_events_0 PARTITION OF outbox_events FOR VALUES IN (0);
CREATE TABLE outbox_events_1 PARTITION OF outbox_events FOR VALUES IN (1);
CREATE TABLE outbox_events_2 PARTITION OF outbox_events FOR VALUES IN (2);
CREATE TABLE outbox_events_3 PARTITION OF outbox_events FOR VALUES IN (3);

INSERT INTO outbox_events
    (id, txid, shard, event_id, order_id, sequence, type, occurred_at, traceparent, data)
    OVERRIDING SYSTEM VALUE
SELECT id, txid, shard, event_id, order_id, sequence, type, occurred_at, traceparent, data
FROM outbox_events_before;
SELECT setval(pg_get_serial_sequence('outbox_events', 'id'), last_value, is_called) FROM outbox_events_before_id_seq;
DROP TABLE outbox_events_before;

-- How the relay finds a batch: the rows of its shard from the transactions since the last one. With what it includes
-- a page is chosen from the index alone, however large the backlog; only the page's own rows are then read.
CREATE INDEX outbox_events_shard_txid_idx ON outbox_events (shard, txid) INCLUDE (id, order_id, sequence, slot);

-- How far each shard is confirmed: its row with the highest `n`; the rows before it say when it got there.
CREATE TABLE outbox_acks (
    shard    smallint    NOT NULL CHECK (shard BETWEEN 0 AND 7),
    slot     smallint    NOT NULL,
    n        bigint      NOT NULL,
    -- All that is visible in `base` is confirmed (or parked); of what `target` sees beyond it, all up to `after_id`.
    base     pg_snapshot NOT NULL,
    target   pg_snapshot NOT NULL,
    after_id bigint      NOT NULL,
    -- The highest id that is confirmed, whatever the snapshots: what is higher is not confirmed in any case.
    last_id  bigint      NOT NULL,
    -- In which cluster and database the snapshots are meant; in another one they say nothing (a restored dump).
    epoch    text        NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (shard, n, slot)
) PARTITION BY LIST (slot);
-- When an event was confirmed: the first of its shard's rows since then that covers it.
CREATE INDEX outbox_acks_shard_at_idx ON outbox_acks (shard, at);
CREATE TABLE outbox_acks_0 PARTITION OF outbox_acks FOR VALUES IN (0);
CREATE TABLE outbox_acks_1 PARTITION OF outbox_acks FOR VALUES IN (1);
CREATE TABLE outbox_acks_2 PARTITION OF outbox_acks FOR VALUES IN (2);
CREATE TABLE outbox_acks_3 PARTITION OF outbox_acks FOR VALUES IN (3);

-- Which cluster and database this is.
CREATE FUNCTION outbox_epoch() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT system_identifier FROM pg_control_system())::text || '/'
        || (SELECT oid FROM pg_database WHERE datname = current_database())::text;

INSERT INTO outbox_acks (shard, slot, n, base, target, after_id, last_id, epoch, at)
SELECT c.shard, outbox_slot(now()), 1, c.base, c.target, c.after_id,
    coalesce((
        SELECT max(e.id)
        FROM outbox_events e
        WHERE e.shard = c.shard AND (pg_visible_in_snapshot(e.txid, c.base)
            OR e.id <= c.after_id AND pg_visible_in_snapshot(e.txid, c.target))
    ), 0),
    outbox_epoch(), now()
FROM outbox_cursors c;
DROP TABLE outbox_cursors;

-- Events that the broker can never take (too large, or not to be expressed): they wait for a person, while those behind
-- them go on. With all that an event is, since its row in the outbox goes with its slot.
CREATE TABLE outbox_parked (
    event_id    uuid        PRIMARY KEY,
    id          bigint      NOT NULL,
    shard       smallint    NOT NULL CHECK (shard BETWEEN 0 AND 7),
    order_id    uuid        NOT NULL,
    sequence    integer     NOT NULL CHECK (sequence >= 1),
    type        text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    traceparent text,
    data        json        NOT NULL,
    reason      text        NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
    parked_at   timestamptz NOT NULL,
    -- Given back to the relay; null while it waits.
    redriven_at timestamptz
);
CREATE INDEX outbox_parked_waiting_idx ON outbox_parked (parked_at) WHERE redriven_at IS NULL;

-- A slot that was emptied. Changes of orders up to `events_until` need no event in the outbox any more.
CREATE TABLE outbox_rotations (
    rotated_at   timestamptz NOT NULL,
    slot         smallint    NOT NULL CHECK (slot BETWEEN 0 AND 3),
    events_until timestamptz NOT NULL,
    PRIMARY KEY (rotated_at, slot)
);

-- The relay lives in the order-api's process. It changes events in one case only: after a dump was restored it stamps
-- those that are not confirmed with a transaction of the new cluster.
GRANT SELECT, INSERT, UPDATE (txid) ON outbox_events TO jumun_api;
GRANT SELECT, INSERT ON outbox_acks, outbox_rotations TO jumun_api;
GRANT SELECT, INSERT, UPDATE ON outbox_parked TO jumun_api;
GRANT SELECT, TRUNCATE ON outbox_events_0, outbox_events_1, outbox_events_2, outbox_events_3,
    outbox_acks_0, outbox_acks_1, outbox_acks_2, outbox_acks_3 TO jumun_api;
GRANT SELECT ON outbox_events, outbox_acks, outbox_parked, outbox_rotations TO jumun_audit;
GRANT SELECT ON outbox_events, outbox_acks, outbox_parked TO jumun_consumer;
