-- What the scheduler started, and what became of it.

CREATE TABLE job_runs (
    job           text        NOT NULL CHECK (job ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    -- A run is one job at one scheduled time: two schedulers cannot start it twice.
    scheduled_for timestamptz NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz CHECK (finished_at >= started_at),
    result        text        NOT NULL CHECK (result IN ('running', 'ok', 'failed', 'timed_out')),
    exit_code     integer,
    detail        text CHECK (char_length(detail) <= 2000),
    PRIMARY KEY (job, scheduled_for),
    CHECK ((result = 'running') = (finished_at IS NULL))
);

GRANT SELECT, INSERT ON job_runs TO jumun_scheduler;
GRANT UPDATE (finished_at, result, exit_code, detail) ON job_runs TO jumun_scheduler;
GRANT SELECT ON job_runs TO jumun_audit;
