-- The roles of Jumun: an owner of the schema, and one least-privilege role for each process. Run by a superuser with
-- psql; run again it sets everything anew. What each role may do with which table stands in the migrations.
--
-- The passwords come from the environment: JUMUN_OWNER_PASSWORD and so on.

\set ON_ERROR_STOP on
\getenv owner_password JUMUN_OWNER_PASSWORD
\getenv api_password JUMUN_API_PASSWORD
\getenv consumer_password JUMUN_CONSUMER_PASSWORD
\getenv aggregator_password JUMUN_AGGREGATOR_PASSWORD
\getenv scheduler_password JUMUN_SCHEDULER_PASSWORD
\getenv audit_password JUMUN_AUDIT_PASSWORD
\getenv cleaner_password JUMUN_CLEANER_PASSWORD

-- No password may end in the server's log, however slow the statement.
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['jumun_owner', 'jumun_api', 'jumun_consumer', 'jumun_aggregator', 'jumun_scheduler', 'jumun_audit',
                  'jumun_cleaner']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

-- Connection limits. The server takes 100 and keeps 3 for superusers:
--   api 40 (a process opens at most 7, 10 with its console; how many that allows in a rollout: docs/deployment.md)
--   + aggregator 10 + scheduler 10 + consumer 5 + audit 10 + cleaner 2 + owner 20 (migrations and orderctl) = 97, so that
--   no process can lock another one out.
ALTER ROLE jumun_owner      LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 20 PASSWORD :'owner_password';
ALTER ROLE jumun_api        LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 40 PASSWORD :'api_password';
ALTER ROLE jumun_consumer   LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 5  PASSWORD :'consumer_password';
ALTER ROLE jumun_aggregator LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10 PASSWORD :'aggregator_password';
ALTER ROLE jumun_scheduler  LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10 PASSWORD :'scheduler_password';
ALTER ROLE jumun_audit      LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10 PASSWORD :'audit_password';
ALTER ROLE jumun_cleaner    LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 2  PASSWORD :'cleaner_password';

-- The last line of defence behind the deadlines of the clients: no statement, no wait for a lock and no open transaction
-- outlives them, whatever a process does. lock_timeout counts for advisory locks too.

-- A migration may build an index on a large table, but must not stand in front of everyone while it waits for a lock.
ALTER ROLE jumun_owner SET statement_timeout = '15min';
ALTER ROLE jumun_owner SET lock_timeout = '30s';
ALTER ROLE jumun_owner SET idle_in_transaction_session_timeout = '60s';

-- A customer waits for the answer.
ALTER ROLE jumun_api SET statement_timeout = '5s';
ALTER ROLE jumun_api SET lock_timeout = '3s';
ALTER ROLE jumun_api SET idle_in_transaction_session_timeout = '10s';

ALTER ROLE jumun_consumer SET statement_timeout = '5s';
ALTER ROLE jumun_consumer SET lock_timeout = '3s';
ALTER ROLE jumun_consumer SET idle_in_transaction_session_timeout = '10s';

-- As long as a run gives itself: after a large import the next one takes in all of it with one statement. When its
-- process was killed, its session must not go on for as long: it holds the lock that keeps other runs out.
ALTER ROLE jumun_aggregator SET statement_timeout = '10min';
ALTER ROLE jumun_aggregator SET client_connection_check_interval = '5s';
ALTER ROLE jumun_aggregator SET lock_timeout = '10s';
ALTER ROLE jumun_aggregator SET idle_in_transaction_session_timeout = '60s';

ALTER ROLE jumun_scheduler SET statement_timeout = '10s';
ALTER ROLE jumun_scheduler SET lock_timeout = '5s';
ALTER ROLE jumun_scheduler SET idle_in_transaction_session_timeout = '30s';

-- The audit reads everything and changes nothing.
ALTER ROLE jumun_audit SET default_transaction_read_only = on;
ALTER ROLE jumun_audit SET statement_timeout = '5min';
ALTER ROLE jumun_audit SET lock_timeout = '5s';
ALTER ROLE jumun_audit SET idle_in_transaction_session_timeout = '60s';

-- For orderctl doctor, which looks for sessions that wait in the middle of a transaction.
GRANT pg_read_all_stats TO jumun_owner;
-- Removes old rows in small batches.
ALTER ROLE jumun_cleaner SET statement_timeout = '2min';
ALTER ROLE jumun_cleaner SET lock_timeout = '5s';
ALTER ROLE jumun_cleaner SET idle_in_transaction_session_timeout = '30s';
