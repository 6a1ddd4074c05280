-- A run takes what is new since the run before it, instead of counting the window anew.

-- The edges of a window that lie within an hour, and the hours of a recount. The block range index that was here gets
-- of no use once cancellations, which carry the time of their sale, lie among the newest rows.
DROP INDEX sales_ledger_sold_at_idx;
CREATE INDEX sales_ledger_sold_at_idx ON sales_ledger (sold_at);

-- Derived rows need no key to products: nobody may delete a product, and `aggregator verify` proves the rows. Each such
-- check is a look-up and a lock on the product's row, which orders want to write.
ALTER TABLE sales_hourly DROP CONSTRAINT sales_hourly_product_id_fkey;
ALTER TABLE sales_window DROP CONSTRAINT sales_window_product_id_fkey;

-- What is added to a sum may be negative, and an upsert is checked before it is added; the run looks at what comes out.
ALTER TABLE sales_hourly DROP CONSTRAINT sales_hourly_quantity_check, DROP CONSTRAINT sales_hourly_amount_check;
ALTER TABLE sales_window DROP CONSTRAINT sales_window_quantity_check, DROP CONSTRAINT sales_window_amount_check;

-- They were cut at the window's ends. The next run finds no run to go on from, and counts the ledger.
TRUNCATE sales_hourly, sales_window;

ALTER TABLE aggregation_runs
    DROP CONSTRAINT aggregation_runs_trigger_check,
    ADD CONSTRAINT aggregation_runs_trigger_check CHECK (trigger IN ('manual', 'schedule', 'follow', 'rebuild')),
    ADD COLUMN mode text NOT NULL DEFAULT 'rolling' CHECK (mode IN ('rolling', 'minute', 'calendar')),
    -- What sales_window is the sum of: the whole UTC hours from first_hour up to end_hour. Null in the runs of before,
    -- from which no run can go on.
    ADD COLUMN first_hour timestamptz,
    ADD COLUMN end_hour timestamptz CHECK (end_hour > first_hour),
    -- sales_hourly holds every hour from here on.
    ADD COLUMN kept_from timestamptz CHECK (kept_from <= first_hour),
    -- The ledger has rows of another cluster's transactions (a restored dump): snapshots say nothing about them.
    ADD COLUMN has_foreign_rows boolean NOT NULL DEFAULT false,
    -- What became of the lists in Redis; null while nobody has tried.
    ADD COLUMN publication text CHECK (publication IN ('published', 'superseded', 'failed')),
    ADD COLUMN verified_at timestamptz,
    -- How many values `aggregator verify` found wrong.
    ADD COLUMN mismatches bigint CHECK (mismatches >= 0),
    ADD CHECK (num_nulls(first_hour, end_hour, kept_from) IN (0, 3)),
    ADD CHECK ((verified_at IS NULL) = (mismatches IS NULL));

-- What the last verification found is asked for all the time.
CREATE INDEX aggregation_runs_verified_at_idx ON aggregation_runs (verified_at) WHERE verified_at IS NOT NULL;

UPDATE aggregation_runs SET publication = 'published' WHERE published_at IS NOT NULL;

-- Tells this database from one that was here before: its runs begin at 1 again, but Redis may still have the other's.
-- The default is a constant, the time of this migration in milliseconds, so it is the same for every run.
DO $$
BEGIN
    EXECUTE format(
        'ALTER TABLE aggregation_runs ADD COLUMN epoch bigint NOT NULL DEFAULT %s',
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    );
END
$$;

-- A row a list instead of a row a place: 2,000 rows a run are too many when there is a run a second.
ALTER TABLE popular_snapshot RENAME TO popular_places;
CREATE TABLE popular_snapshot (
    run_id      bigint   NOT NULL REFERENCES aggregation_runs (id) ON DELETE CASCADE,
    ranking     text     NOT NULL CHECK (ranking IN ('quantity', 'amount')),
    -- Best first; the three belong together, place by place.
    product_ids bigint[] NOT NULL CHECK (cardinality(product_ids) <= 1000),
    quantities  bigint[] NOT NULL CHECK (cardinality(quantities) = cardinality(product_ids)),
    amounts     bigint[] NOT NULL CHECK (cardinality(amounts) = cardinality(product_ids)),
    CONSTRAINT popular_snapshot_list_pkey PRIMARY KEY (run_id, ranking)
);
INSERT INTO popular_snapshot (run_id, ranking, product_ids, quantities, amounts)
SELECT run_id, ranking, array_agg(product_id ORDER BY rank), array_agg(quantity ORDER BY rank),
       array_agg(amount ORDER BY rank)
FROM popular_places
GROUP BY run_id, ranking;
DROP TABLE popular_places;

GRANT SELECT ON popular_snapshot TO jumun_api, jumun_audit;
GRANT SELECT, INSERT, DELETE ON popular_snapshot TO jumun_aggregator;
-- Old runs are forgotten.
GRANT DELETE ON aggregation_runs TO jumun_aggregator;
GRANT UPDATE (publication, verified_at, mismatches) ON aggregation_runs TO jumun_aggregator;
-- The scheduler tells of the runs that it started.
GRANT SELECT ON aggregation_runs TO jumun_scheduler;
