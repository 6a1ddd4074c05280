-- Every change of a balance, as a chain: version n of a user follows version n - 1, and balance_after with it.

CREATE TABLE balance_history (
    user_id       bigint      NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    version       bigint      NOT NULL CHECK (version >= 1),
    id            uuid        NOT NULL,
    type          text        NOT NULL CHECK (type IN ('CHARGE', 'PAYMENT', 'REFUND')),
    amount        bigint      NOT NULL,
    balance_after bigint      NOT NULL CHECK (balance_after >= 0),
    order_id      uuid REFERENCES orders (id) ON DELETE RESTRICT,
    created_at    timestamptz NOT NULL,
    -- Also the order in which the history is read, newest first.
    PRIMARY KEY (user_id, version),
    CHECK ((type = 'PAYMENT') = (amount < 0) AND amount <> 0),
    CHECK ((type = 'CHARGE') = (order_id IS NULL))
);

-- An order is paid once and refunded once.
CREATE UNIQUE INDEX balance_history_order_key ON balance_history (order_id, type) WHERE order_id IS NOT NULL;

GRANT SELECT, INSERT ON balance_history TO jumun_api;
GRANT SELECT ON balance_history TO jumun_audit;
