ALTER TABLE aggregation_runs DROP COLUMN incarnation;
