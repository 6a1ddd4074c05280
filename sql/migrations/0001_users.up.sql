-- Users and their balances.
--
-- Roles are made by sql/roles.sql before the first migration; each table's grants stand beside it.

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public
    TO jumun_api, jumun_consumer, jumun_aggregator, jumun_scheduler, jumun_audit;

CREATE TABLE users (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    email      text        NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    balance    bigint      NOT NULL DEFAULT 0 CHECK (balance >= 0),
    -- The number of rows in the user's balance history: what optimistic locking compares.
    version    bigint      NOT NULL DEFAULT 0 CHECK (version >= 0),
    created_at timestamptz NOT NULL,
    -- When the balance last changed.
    updated_at timestamptz NOT NULL
)
-- balance and version change with every order and no index covers them: free room keeps those updates on the page
-- (HOT), so that no index grows.
WITH (fillfactor = 70);

-- One account an address, however it is written.
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

GRANT SELECT ON users TO jumun_api;
-- A balance begins at nothing.
GRANT INSERT (name, email, created_at, updated_at) ON users TO jumun_api;
-- The balance is the only thing that an order changes.
GRANT UPDATE (balance, version, updated_at) ON users TO jumun_api;
GRANT SELECT ON users TO jumun_audit;
