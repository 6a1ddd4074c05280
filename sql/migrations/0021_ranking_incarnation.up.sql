-- What tells the database that made a run from the one that it was restored into: cluster, database, table and timeline.
-- Null in the runs of before; the next run begins a new epoch.
ALTER TABLE aggregation_runs ADD COLUMN incarnation text;
