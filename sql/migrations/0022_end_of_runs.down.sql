REVOKE UPDATE (finished_at) ON aggregation_runs FROM jumun_aggregator;
