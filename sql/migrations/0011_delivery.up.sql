-- What became of events after the outbox: written by the consumer, read by whoever asks where an order's event is.

-- The consumer's inbox: an event is here once the platform has accepted it, so that one that comes again is not sent again.
-- One index serves both questions: is this event there, and what became of this order's events.
CREATE TABLE event_deliveries (
    order_id     uuid        NOT NULL,
    event_id     uuid        NOT NULL,
    -- Requests that carried it and count, this one included.
    attempts     integer     NOT NULL CHECK (attempts >= 1),
    -- The platform's answer.
    status       smallint    NOT NULL CHECK (status BETWEEN 200 AND 299),
    duration_ms  integer     NOT NULL CHECK (duration_ms >= 0),
    occurred_at  timestamptz NOT NULL,
    delivered_at timestamptz NOT NULL,
    PRIMARY KEY (order_id, event_id)
);

-- Attempts that did not deliver; rare beside the above. Never updated.
CREATE TABLE delivery_attempts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id     uuid        NOT NULL,
    event_id     uuid        NOT NULL,
    -- Requests that carried it and count; a postponed one does not.
    attempts     integer     NOT NULL CHECK (attempts >= 0),
    outcome      text        NOT NULL CHECK (outcome IN ('RETRIED', 'POSTPONED', 'DEAD_LETTERED')),
    -- The platform's answer; null when there was none.
    status       smallint    CHECK (status BETWEEN 100 AND 999),
    error        text        NOT NULL CHECK (char_length(error) <= 2048),
    -- Alike for failures of one cause; dead letters are grouped by it.
    fingerprint  text        NOT NULL,
    -- How long it waits now; null where it waits for a person.
    tier_ms      integer     CHECK (tier_ms > 0),
    duration_ms  integer     NOT NULL CHECK (duration_ms >= 0),
    attempted_at timestamptz NOT NULL
);
CREATE INDEX delivery_attempts_order_id_idx ON delivery_attempts (order_id, id);

-- An operator's redrive of dead letters: said again with the same id it goes on, and sends nothing twice.
CREATE TABLE redrives (
    id           text        PRIMARY KEY CHECK (char_length(id) BETWEEN 1 AND 100),
    -- What was asked for, in words.
    selection    text        NOT NULL,
    requested_by text        NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    -- How it ended; null while it runs, or when it was killed.
    result       text        CHECK (result IN ('DONE', 'STOPPED', 'FAILED')),
    redriven     bigint      NOT NULL DEFAULT 0 CHECK (redriven >= 0)
);

CREATE TABLE redriven_events (
    redrive_id   text        NOT NULL REFERENCES redrives (id),
    event_id     uuid        NOT NULL,
    order_id     uuid        NOT NULL,
    redriven_at  timestamptz NOT NULL,
    PRIMARY KEY (redrive_id, event_id)
);
CREATE INDEX redriven_events_order_id_idx ON redriven_events (order_id, redriven_at);

GRANT SELECT, INSERT ON event_deliveries, delivery_attempts TO jumun_consumer;
GRANT SELECT ON outbox_events TO jumun_consumer;
GRANT SELECT ON event_deliveries, delivery_attempts, redriven_events TO jumun_api;
GRANT SELECT ON event_deliveries, delivery_attempts, redrives, redriven_events TO jumun_audit;
