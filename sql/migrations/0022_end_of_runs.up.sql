-- A run's row is written before its lists, which refer to it; when it ended is known only after them.
GRANT UPDATE (finished_at) ON aggregation_runs TO jumun_aggregator;
