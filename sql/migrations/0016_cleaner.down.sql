REVOKE SELECT, DELETE ON idempotency_keys, job_runs, aggregation_runs, event_deliveries, delivery_attempts
FROM jumun_cleaner;
REVOKE USAGE ON SCHEMA public FROM jumun_cleaner;
