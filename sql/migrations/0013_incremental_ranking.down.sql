REVOKE SELECT ON aggregation_runs FROM jumun_scheduler;
REVOKE DELETE ON aggregation_runs FROM jumun_aggregator;

ALTER TABLE popular_snapshot RENAME TO popular_lists;
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
INSERT INTO popular_snapshot (run_id, ranking, rank, product_id, quantity, amount)
SELECT l.run_id, l.ranking, place.rank, place.product_id, place.quantity, place.amount
FROM popular_lists l
CROSS JOIN LATERAL unnest(l.product_ids, l.quantities, l.amounts) WITH ORDINALITY
    AS place (product_id, quantity, amount, rank);
DROP TABLE popular_lists;
GRANT SELECT ON popular_snapshot TO jumun_api, jumun_audit;
GRANT SELECT, INSERT, DELETE ON popular_snapshot TO jumun_aggregator;

UPDATE aggregation_runs SET trigger = 'manual' WHERE trigger IN ('follow', 'rebuild');
ALTER TABLE aggregation_runs
    DROP COLUMN epoch,
    DROP COLUMN mismatches,
    DROP COLUMN verified_at,
    DROP COLUMN publication,
    DROP COLUMN has_foreign_rows,
    DROP COLUMN kept_from,
    DROP COLUMN end_hour,
    DROP COLUMN first_hour,
    DROP COLUMN mode,
    DROP CONSTRAINT aggregation_runs_trigger_check,
    ADD CONSTRAINT aggregation_runs_trigger_check CHECK (trigger IN ('manual', 'schedule'));

TRUNCATE sales_hourly, sales_window;
ALTER TABLE sales_hourly
    ADD CONSTRAINT sales_hourly_quantity_check CHECK (quantity >= 0),
    ADD CONSTRAINT sales_hourly_amount_check CHECK (amount >= 0);
ALTER TABLE sales_window
    ADD CONSTRAINT sales_window_quantity_check CHECK (quantity >= 0),
    ADD CONSTRAINT sales_window_amount_check CHECK (amount >= 0);
ALTER TABLE sales_window ADD CONSTRAINT sales_window_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products (id) ON DELETE RESTRICT;
ALTER TABLE sales_hourly ADD CONSTRAINT sales_hourly_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products (id) ON DELETE RESTRICT;

DROP INDEX sales_ledger_sold_at_idx;
CREATE INDEX sales_ledger_sold_at_idx ON sales_ledger USING brin (sold_at);
