-- What was answered under an idempotency key; the row is committed with the business it speaks of.

CREATE TABLE idempotency_keys (
    -- No reference to users: the refusal "no such user" is remembered too.
    user_id     bigint      NOT NULL CHECK (user_id > 0),
    key         text        NOT NULL CHECK (key ~ '^[\x21-\x7e]{1,255}$'),
    -- SHA-256 of what was asked; the same key with another request is refused.
    fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    status      smallint    NOT NULL CHECK (status BETWEEN 200 AND 499 AND status <> 429),
    location    text,
    content_type text       NOT NULL,
    body        text        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);

-- For removing keys older than a day.
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys USING brin (created_at);

-- An expired key is written over, hence UPDATE.
GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO jumun_api;
GRANT SELECT ON idempotency_keys TO jumun_audit;
