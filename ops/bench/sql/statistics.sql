-- An empty ledger and an empty ranking, and what the sales are drawn with.

TRUNCATE sales_ledger, sales_hourly, sales_window, aggregation_runs, popular_snapshot RESTART IDENTITY CASCADE;

-- From 0 up to but not 1, always the same for the same two numbers.
CREATE OR REPLACE FUNCTION bench.fraction(number bigint, seed bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (hashint8extended(number, seed) & 9007199254740991) / 9007199254740992.0::double precision;
