"""What a database session that does not end does to everyone else's events: nothing."""

import subprocess
import time
from contextlib import contextmanager

from . import load
from .system import ROOT, require

OUTBOX_TABLES = "relname LIKE 'outbox%'"


@contextmanager
def open_transaction(system, *statements):
    """A session that has run these in a transaction and then does nothing; it is given back to be ended by a line."""
    session = subprocess.Popen(
        system.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        for line in (*statements, r"\echo begun"):
            session.stdin.write(line + "\n")
        while session.stdout.readline().strip() != "begun":
            require(session.poll() is None, "the session has ended by itself")
        yield session
    finally:
        session.stdin.close()
        session.wait(30)


def slow_writer(system, options):
    """a transaction with an event stays open for a minute while 2,000 events/s commit"""
    seconds = max(20, int(60 * options.scale))
    rate = options.rate or 2_000
    system.psql_file(ROOT / "ops/bench/sql/baselines.sql")
    product = system.first_product + load.PRODUCTS - 1
    begin = ("BEGIN;", f"SELECT bench.place_order({system.first_user + load.USERS}, {product});")
    start = system.query("SELECT clock_timestamp()")
    with load.orders(system, rate, seconds + 10) as result:
        with open_transaction(system, *begin) as session:
            time.sleep(seconds)
            waiting = system.query(f"SELECT count(*) FROM event_deliveries d JOIN order_items i USING (order_id) "
                                   f"WHERE i.product_id = {product}")
            require(waiting == "0", "an event was delivered before its transaction had committed")
            session.stdin.write("COMMIT;\n")
    drained = system.wait_until_delivered(60)
    others = system.query(
        f"SELECT count(*), percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP "
        f"(ORDER BY extract(epoch FROM d.delivered_at - d.occurred_at) * 1000) "
        f"FROM event_deliveries d JOIN order_items i USING (order_id) "
        f"WHERE i.product_id <> {product} AND d.delivered_at > '{start}'"
    )
    count, percentiles = others.split("|")
    p50_ms, p99_ms = (float(value) for value in percentiles.strip("{}").split(","))
    require(p99_ms < 1_000, f"the others' events took {p99_ms:.0f} ms to the platform (p99)")
    system.require_exactly_once()
    return (f"{count} events at {int(count) / (seconds + 10):.0f}/s; commit to platform p50 {p50_ms:.0f} ms, "
            f"p99 {p99_ms:.0f} ms; {result.failed} of {result.sent} orders failed; "
            f"the held event delivered after its commit; all there {drained:.0f} s after the load")


def held_snapshot(system, options):
    """an idle REPEATABLE READ is held for 10 minutes at a constant rate"""
    seconds = int(600 * options.scale)
    rate = options.rate or 300
    begin = ("BEGIN ISOLATION LEVEL REPEATABLE READ;", "SELECT count(*) FROM outbox_events;")
    samples = []
    with load.orders(system, rate, seconds) as result, open_transaction(system, *begin):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = _work(system)
            time.sleep(max(1, min(seconds / 20, deadline - time.monotonic())))
            samples.append(tuple(now - then for now, then in zip(_work(system), before, strict=True)))
        dead = system.query(f"SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE {OUTBOX_TABLES}")
    system.wait_until_delivered(60)
    system.require_exactly_once()
    quarter = max(1, len(samples) // 4)
    first, last = _per_event(samples[1:quarter + 1]), _per_event(samples[-quarter:])
    require(dead == "0", f"{dead} dead tuples in the outbox's tables")
    require(last["api"] < 1.3 * first["api"], f"order-api: {first['api']:.0f}, later {last['api']:.0f} us an event")
    require(last["rate"] > 0.9 * first["rate"], f"{first['rate']:.0f}, later {last['rate']:.0f} events/s")
    return (f"{seconds} s, {result.sent} orders; first and last quarter: relayed {first['rate']:.0f} and "
            f"{last['rate']:.0f} events/s, order-api {first['api']:.0f} and {last['api']:.0f}, PostgreSQL "
            f"{first['postgres']:.0f} and {last['postgres']:.0f} CPU-us an event; no dead tuple")


def _work(system):
    published = system.metric("API", 'orders_outbox_published_total{result="acked"}')
    return time.monotonic(), published, system.cpu_seconds("order-api"), system.cpu_seconds("postgres")


def _per_event(samples):
    seconds, events, api, postgres = (sum(column) for column in zip(*samples, strict=True))
    return {"rate": events / seconds, "api": api / events * 1e6, "postgres": postgres / events * 1e6}
