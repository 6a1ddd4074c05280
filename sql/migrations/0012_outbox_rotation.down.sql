-- Back to one table of events and one cursor a shard.
ALTER TABLE outbox_events RENAME TO outbox_events_slots;
ALTER TABLE outbox_events_slots RENAME CONSTRAINT outbox_events_pkey TO outbox_events_slots_pkey;
ALTER INDEX outbox_events_shard_txid_idx RENAME TO outbox_events_slots_shard_txid_idx;
ALTER SEQUENCE outbox_events_id_seq RENAME TO outbox_events_slots_id_seq;

CREATE TABLE outbox_events (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    txid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    shard       smallint    NOT NULL CHECK (shard BETWEEN 0 AND 7),
    event_id    uuid        NOT NULL,
    order_id    uuid        NOT NULL,
    sequence    integer     NOT NULL CHECK (sequence >= 1),
    type        text        NOT NULL
        CHECK (type IN ('order.paid.v1', 'order.cancelled.v1', 'order.status-changed.v1')),
    occurred_at timestamptz NOT NULL,
    traceparent text,
    data        json        NOT NULL,
    PRIMARY KEY (order_id, sequence)
);
INSERT INTO outbox_events
    (id, txid, shard, event_id, order_id, sequence, type, occurred_at, traceparent, data)
    OVERRIDING SYSTEM VALUE
SELECT id, txid, shard, event_id, order_id, sequence, type, occurred_at, traceparent, data
FROM outbox_events_slots;
SELECT setval(pg_get_serial_sequence('outbox_events', 'id'), last_value, is_called) FROM outbox_events_slots_id_seq;
DROP TABLE outbox_events_slots;
CREATE INDEX outbox_events_shard_txid_idx ON outbox_events (shard, txid) INCLUDE (id, order_id, sequence);

CREATE TABLE outbox_cursors (
    shard      smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 7),
    base       pg_snapshot NOT NULL,
    target     pg_snapshot NOT NULL,
    after_id   bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL
)
WITH (fillfactor = 10);
INSERT INTO outbox_cursors (shard, base, target, after_id, updated_at)
SELECT DISTINCT ON (shard) shard, base, target, after_id, at FROM outbox_acks ORDER BY shard, n DESC;

DROP TABLE outbox_acks;
DROP TABLE outbox_parked;
DROP TABLE outbox_rotations;
DROP FUNCTION outbox_epoch();
DROP FUNCTION outbox_slot(timestamptz);

GRANT SELECT, INSERT ON outbox_events TO jumun_api;
GRANT SELECT ON outbox_cursors TO jumun_api;
GRANT UPDATE (base, target, after_id, updated_at) ON outbox_cursors TO jumun_api;
GRANT SELECT ON outbox_events, outbox_cursors TO jumun_audit;
GRANT SELECT ON outbox_events TO jumun_consumer;
