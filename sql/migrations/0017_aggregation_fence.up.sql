-- The fencing number of the scheduler's run that started it: a later one has a higher number, and an earlier one that was
-- taken for dead is refused when it comes back.
ALTER TABLE aggregation_runs ADD COLUMN fence bigint CHECK (fence > 0);
CREATE INDEX aggregation_runs_fence_idx ON aggregation_runs (fence) WHERE fence IS NOT NULL;
