-- What the operator's console of order-api shows and does: the jobs' last runs, and redrives of dead letters.
GRANT SELECT ON job_runs TO jumun_api;
GRANT SELECT, INSERT ON redrives, redriven_events TO jumun_api;
GRANT UPDATE (finished_at, result, redriven) ON redrives TO jumun_api;
