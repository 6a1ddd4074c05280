-- What `orderctl clean` may remove, and nothing else. Rows of popular_snapshot go with their run, by the key's cascade.
GRANT USAGE ON SCHEMA public TO jumun_cleaner;
GRANT SELECT, DELETE ON idempotency_keys, job_runs, aggregation_runs, event_deliveries, delivery_attempts TO jumun_cleaner;
