REVOKE UPDATE (finished_at, result, redriven) ON redrives FROM jumun_api;
REVOKE SELECT, INSERT ON redrives FROM jumun_api;
REVOKE INSERT ON redriven_events FROM jumun_api;
REVOKE SELECT ON job_runs FROM jumun_api;
