DROP TABLE popular_snapshot;
DROP TABLE aggregation_runs;
DROP TABLE sales_window;
DROP TABLE sales_hourly;
DROP TABLE sales_ledger;
