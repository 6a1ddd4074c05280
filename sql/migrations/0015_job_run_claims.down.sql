DELETE FROM job_runs WHERE result IN ('queued', 'skipped', 'missed');
UPDATE job_runs SET result = 'failed' WHERE result IN ('replaced', 'lost');
DROP INDEX job_runs_running_key, job_runs_queued_key, job_runs_fence_key, job_runs_scheduled_for_idx;
REVOKE UPDATE (started_at) ON job_runs FROM jumun_scheduler;
ALTER TABLE job_runs
    DROP CONSTRAINT job_runs_result_check,
    DROP CONSTRAINT job_runs_finished_check,
    DROP CONSTRAINT job_runs_claimed_check,
    DROP COLUMN owner,
    DROP COLUMN fence,
    DROP COLUMN heartbeat_at,
    DROP COLUMN signal,
    DROP COLUMN missed,
    ADD CONSTRAINT job_runs_result_check CHECK (result IN ('running', 'ok', 'failed', 'timed_out')),
    ADD CONSTRAINT job_runs_check1 CHECK ((result = 'running') = (finished_at IS NULL));
DROP SEQUENCE job_run_fence;
