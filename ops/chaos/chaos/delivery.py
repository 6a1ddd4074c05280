"""A platform and a broker that misbehave."""

import time
import urllib.error

from . import load
from .system import (
    ALL_EVENTS, EVENTS_EXCHANGE, FORWARD_QUEUE, UNDELIVERED, require, wait_until,
)

OPEN = 2
DEAD_LETTERS_TO_REDRIVE = 10_000
REDRIVE_RATE = 500


def binding_deleted(system, options):
    """the binding of the forward queue is deleted under load"""
    seconds = max(30, int(60 * options.scale))
    path = f"bindings/jumun/e/{EVENTS_EXCHANGE}/q/{FORWARD_QUEUE}"
    with load.orders(system, options.rate or 200, seconds) as result:
        time.sleep(5)
        system.broker(f"{path}/{ALL_EVENTS.replace('#', '%23')}", "DELETE")
        wait_until(lambda: system.metric("API", 'orders_outbox_published_total{result="returned"}') > 0, 15,
                   "no event was reported as returned")
        try:
            system.broker(path, "POST", {"routing_key": ALL_EVENTS})
        except urllib.error.HTTPError as error:
            require(error.code < 500, f"the broker answers {error.code}")
    drained = system.wait_until_delivered(60)
    events = system.require_exactly_once()
    returned = system.metric("API", 'orders_outbox_published_total{result="returned"}')
    return (f"{returned:.0f} events returned and none taken for confirmed; {result.failed} of {result.sent} orders "
            f"failed; all {events} at the platform {drained:.0f} s after the load")


def platform_down(system, options):
    """the platform answers 503 to everything for 10 minutes"""
    return _outage(system, options, int(600 * options.scale), mode="down", status=503)


def platform_hangs(system, options):
    """the platform never answers, for 2 minutes"""
    return _outage(system, options, max(20, int(120 * options.scale)), mode="hang")


def _outage(system, options, seconds, **faults):
    rate = options.rate or 100
    with load.orders(system, rate, seconds + 10) as result:
        time.sleep(5)
        system.set_faults(**faults)
        wait_until(lambda: system.metric("CONSUMER", "event_consumer_circuit_state") == OPEN, 30,
                   "the circuit did not open")
        time.sleep(max(0, seconds - 10))
        waiting = system.query(UNDELIVERED)
        require(system.dead_letters() == 0, "an outage has made dead letters")
        system.set_faults()
    drained = system.wait_until_delivered(60)
    require(system.dead_letters() == 0, "an outage has made dead letters")
    require(result.failed == 0, f"{result.failed} of {result.sent} orders failed")
    events = system.require_exactly_once()
    return (f"{seconds} s at {rate} orders/s; the circuit opened, {waiting} events waited, no dead letter; orders: "
            f"{result.failed} of {result.sent} failed, p99 {result.p99_ms:.0f} ms; all {events} at the platform "
            f"{drained:.0f} s after the load")


def platform_slow(system, options):
    """every answer of the platform takes 300 ms, for 2 minutes"""
    return _trouble(system, options, mode="slow", latencyMs=300)


def platform_flaky(system, options):
    """three of ten answers are 500, for 2 minutes"""
    return _trouble(system, options, mode="flaky", rate=0.3, status=500)


def _trouble(system, options, **faults):
    seconds = max(20, int(120 * options.scale))
    with load.orders(system, options.rate or 100, seconds) as result:
        system.set_faults(**faults)
        time.sleep(seconds - 2)
        system.set_faults()
    drained = system.wait_until_delivered(60)
    require(system.dead_letters() == 0, "there are dead letters")
    events = system.require_exactly_once()
    retried = system.metric("CONSUMER", 'event_consumer_deliveries_total{outcome="retried"}')
    return (f"{result.failed} of {result.sent} orders failed; {retried:.0f} events retried so far, no dead letter; all "
            f"{events} at the platform {drained:.0f} s after the load")


def rejected(system, options):
    """the platform refuses 1 % of the events for good"""
    del options
    system.set_faults(mode="down", status=503)
    with load.orders(system, 100, 10):
        pass
    ids = system.query(
        f"SELECT DISTINCT order_id FROM ({UNDELIVERED.replace('count(*)', 'o.order_id')}) AS waiting ORDER BY order_id"
    ).splitlines()
    bad = ids[::100]
    system.set_faults(mode="reject", subjects=bad)
    wait_until(lambda: system.query(UNDELIVERED) == str(len(bad)), 60, "the others are not delivered")
    wait_until(lambda: system.dead_letters() == len(bad), 10, f"dead letters are not {len(bad)}")
    listed = ",".join(f"'{order}'" for order in bad)
    dead = system.query(
        f"SELECT count(*), count(*) FILTER (WHERE attempts = 1 AND status = 422 AND error <> ''), "
        f"count(*) FILTER (WHERE order_id IN ({listed})) FROM delivery_attempts WHERE outcome = 'DEAD_LETTERED' "
        f"AND status = 422"
    )
    require(dead == "|".join([str(len(bad))] * 3), f"dead letters, once tried with reason, expected ones: {dead}")
    system.set_faults()
    system.orderctl("dlq", "redrive", "--all", "--redrive-id", "after-rejected")
    system.wait_until_delivered(30)
    system.require_exactly_once()
    return (f"{len(bad)} of {len(ids)} events refused: exactly these are dead letters, one attempt each, with status "
            f"and reason")


def redrive(system, options):
    """10,000 dead letters are redriven at 500 a second, and again with the same id"""
    del options
    system.set_faults(mode="down", status=400)
    with load.orders(system, 1_000, DEAD_LETTERS_TO_REDRIVE / 1_000):
        pass
    waiting = int(system.query(UNDELIVERED))
    wait_until(lambda: system.dead_letters() >= waiting, 120, "refused events are not among the dead letters")
    system.set_faults()
    before = system.platform()
    start = time.monotonic()
    system.orderctl("dlq", "redrive", "--all", "--rate", REDRIVE_RATE, "--redrive-id", "chaos")
    seconds = time.monotonic() - start
    system.wait_until_delivered(60)
    system.orderctl("dlq", "redrive", "--all", "--redrive-id", "chaos", check=False)
    after = system.platform()
    rate = waiting / seconds
    require(abs(rate / REDRIVE_RATE - 1) < 0.1, f"redriven at {rate:.0f} a second")
    require(after["unique"] - before["unique"] == waiting, "not every redriven event was delivered")
    require(after["duplicates"] == before["duplicates"], "a redriven event was delivered twice")
    system.require_exactly_once()
    return (f"{waiting} dead letters redriven at {rate:.0f} a second; each delivered once; the same id again sent "
            f"nothing")
