-- Who holds a run, when it was last heard of, and what became of times at which nothing was started.

-- What runs now was started by a scheduler that knows nothing of heartbeats.
ALTER TABLE job_runs DROP CONSTRAINT job_runs_result_check;
UPDATE job_runs
SET result = 'lost', finished_at = greatest(now(), started_at), detail = 'it was running when the schema changed'
WHERE result = 'running';

ALTER TABLE job_runs
    ADD CONSTRAINT job_runs_result_check CHECK (
        result IN ('queued', 'running', 'ok', 'failed', 'timed_out', 'replaced', 'lost', 'skipped', 'missed')
    ),
    -- The scheduler that claimed it: one that lost the answer to its claim knows its own again.
    ADD COLUMN owner        uuid,
    -- The fencing number: a later run has a higher one, whatever happened to clocks and to Redis in between.
    ADD COLUMN fence        bigint CHECK (fence > 0),
    -- By the database's own clock, which all schedulers share.
    ADD COLUMN heartbeat_at timestamptz,
    -- The signal that ended the process.
    ADD COLUMN signal       integer CHECK (signal > 0),
    -- So many earlier times came to nothing but this row.
    ADD COLUMN missed       bigint NOT NULL DEFAULT 0 CHECK (missed >= 0),
    DROP CONSTRAINT job_runs_check1,
    ADD CONSTRAINT job_runs_finished_check CHECK ((result IN ('queued', 'running')) = (finished_at IS NULL)),
    ADD CONSTRAINT job_runs_claimed_check CHECK (
        result <> 'running' OR owner IS NOT NULL AND fence IS NOT NULL AND heartbeat_at IS NOT NULL
    );

CREATE SEQUENCE job_run_fence;

-- A job never overlaps itself, however many schedulers there are, and at most one of its times waits.
CREATE UNIQUE INDEX job_runs_running_key ON job_runs (job) WHERE result = 'running';
CREATE UNIQUE INDEX job_runs_queued_key ON job_runs (job) WHERE result = 'queued';
CREATE UNIQUE INDEX job_runs_fence_key ON job_runs (job, fence);
CREATE INDEX job_runs_scheduled_for_idx ON job_runs (scheduled_for);

GRANT USAGE ON SEQUENCE job_run_fence TO jumun_scheduler;
GRANT UPDATE (started_at, owner, fence, heartbeat_at, signal) ON job_runs TO jumun_scheduler;
