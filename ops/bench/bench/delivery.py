"""The way of an event: relay, consumer, and both together with the orders."""

import subprocess
import time
from urllib.parse import urlsplit

from . import generators
from .database import PRODUCTS, USERS, Broken, Database
from .figures import Figure, ratios
from .order_api import URL, OrderAPI
from .orders import BASELINES, ORDERS_IN_BATCH, WARM_UP_S
from .servers import FOLDER, FORWARD_QUEUE, OUTPUT, broker_url, forget_events
from .services import Consumer, Platform, wait_until

QUEUED_EVENTS = 100_000
# What the relay's publisher has at most: AMQPPublisher.defaultMaximumUnconfirmed.
WINDOW = 512
# An order event as it is on its way, with its envelope.
BODY_BYTES = 800
RAW_QUEUE = "bench.raw"
PIKA_SECONDS = 10
PIKA = FOLDER / "pika" / "one_by_one.py"
RATE_PER_SECOND = 1_000


def relay(options):
    """A backlog in the outbox to the broker, beside librabbitmq alone with the same window."""
    database, ours, raw = Database("jumun"), [], []
    publish = _build("confirmed_publish", "-lrabbitmq")
    for number in range(1, options.rounds + 1):
        raw.append(_publish_raw(publish))
        backlog = _fill_outbox(database)
        ours.append(_time_relay(database, backlog))
        print(f"  round {number}: relay {ours[-1]:,.0f}, librabbitmq alone {raw[-1]:,.0f} events/s", flush=True)
    return [
        Figure("relay ÷ librabbitmq alone", ratios(ours, raw), at_least=0.5),
        Figure("relay, backlog of the outbox to confirmed", ours, "events/s"),
        Figure("librabbitmq alone, confirmed, quorum queue", raw, "messages/s"),
    ]


def consumer(options):
    """A full queue to the platform, beside pika with a POST an event."""
    database, ours, pika = Database("jumun"), [], []
    for number in range(1, options.rounds + 1):
        backlog = _fill_outbox(database)
        api = OrderAPI(database)
        with api:
            api.wait_for_relay(backlog)
            with Platform(database) as platform:
                pika.append(_forward_by_pika(platform))
                ours.append(_time_consumer(database, platform, backlog))
        print(f"  round {number}: consumer {ours[-1]:,.0f}, pika {pika[-1]:,.0f} events/s", flush=True)
    return [
        Figure("consumer ÷ pika, a POST an event", ratios(ours, pika), at_least=10),
        Figure(f"consumer, a queue of {QUEUED_EVENTS:,}", ours, "events/s"),
        Figure("pika, a POST an event", pika, "events/s"),
    ]


def delay(options):
    """From commit to the platform's 2xx at 1,000 orders/s, everything on."""
    database, p50, p99 = Database("jumun"), [], []
    seconds = 3 * options.seconds
    for _ in range(options.rounds):
        database.open_shop()
        with OrderAPI(database), Platform(database) as platform, Consumer(database):
            generators.place_orders(WARM_UP_S)
            _wait_until_delivered(database, platform)
            start = database.query("SELECT clock_timestamp()")
            generators.k6("open_loop", url=URL, users=USERS, products=PRODUCTS, rate=RATE_PER_SECOND, seconds=seconds)
            _wait_until_delivered(database, platform)
        percentiles = database.query(
            "SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP"
            " (ORDER BY extract(epoch FROM delivered_at - occurred_at))"
            f" FROM event_deliveries WHERE occurred_at > '{start}'"
        )
        for samples, value in zip((p50, p99), percentiles.strip("{}").split(","), strict=True):
            samples.append(1000 * float(value))
    title = f"commit to the platform's 2xx at {RATE_PER_SECOND:,} orders/s"
    return [
        Figure(f"{title}: p50", p50, "ms", at_most=100),
        Figure(f"{title}: p99", p99, "ms", at_most=1_000),
    ]


def pipeline(options):
    """Orders a second with consumer and platform running, beside the order-api alone with its relay."""
    database, alone, together = Database("jumun"), [], []
    for number in range(1, options.rounds + 1):
        database.open_shop()
        with OrderAPI(database):
            alone.append(_orders_per_second(options))
        database.open_shop()
        with OrderAPI(database), Platform(database) as platform, Consumer(database):
            together.append(_orders_per_second(options))
            _wait_until_delivered(database, platform)
        print(f"  round {number}: {together[-1]:,.0f} and alone {alone[-1]:,.0f} orders/s", flush=True)
    return [
        Figure("orders/s with consumer and platform ÷ order-api alone", ratios(together, alone), at_least=0.6),
        Figure("with consumer and platform", together, "orders/s"),
        Figure("order-api alone", alone, "orders/s"),
    ]


def _orders_per_second(options):
    generators.place_orders(WARM_UP_S)
    load = generators.place_orders(options.seconds)
    if load.refused:
        raise Broken(f"{load.refused} orders were refused")
    return load.per_second


def _fill_outbox(database):
    """A shop anew with as many orders as the queue is to have and some more, whose events nobody has published."""
    database.open_shop()
    while (events := database.orders()) < QUEUED_EVENTS * 11 // 10:
        generators.pgbench(database, "batch", 5, BASELINES["batch"], users=USERS, products=PRODUCTS,
                           batch=ORDERS_IN_BATCH)
    return events


def _time_relay(database, backlog):
    """Events a second between a tenth and all of the backlog: the start of the process does not count."""
    with OrderAPI(database) as api:
        wait_until(lambda: api.published() >= backlog / 10, 60, "the relay does not begin", pause_s=0.01)
        first, start = api.published(), time.monotonic()
        api.wait_for_relay(backlog)
        return (backlog - first) / (time.monotonic() - start)


def _publish_raw(program):
    url = urlsplit(broker_url())
    declare = FOLDER / "pika" / "declare.py"
    subprocess.run([OUTPUT / "venv/bin/python", declare, broker_url(), RAW_QUEUE], check=True)
    rate = float(subprocess.run(
        [program, url.hostname, str(url.port), url.username, url.password, url.path[1:], RAW_QUEUE,
         str(QUEUED_EVENTS), str(WINDOW), str(BODY_BYTES)],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout)
    forget_events(RAW_QUEUE)
    return rate


def _forward_by_pika(platform):
    """Events a second of a consumer in Python that posts each by itself and acknowledges it."""
    output = subprocess.run(
        [OUTPUT / "venv/bin/python", PIKA, broker_url(), FORWARD_QUEUE, platform.url, str(PIKA_SECONDS)],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout
    return float(output)


def _time_consumer(database, platform, backlog):
    """Events a second from the consumer's start until the platform has all."""
    before, start = platform.unique(), time.monotonic()
    with Consumer(database):
        wait_until(lambda: platform.unique() >= backlog, 300, "events have not reached the platform", pause_s=0.05)
        return (backlog - before) / (time.monotonic() - start)


def _wait_until_delivered(database, platform):
    orders = database.orders()
    wait_until(lambda: platform.unique() >= orders, 120, "events have not reached the platform")


def _build(name, *libraries):
    program = OUTPUT / name
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, FOLDER / "c" / f"{name}.c", *libraries],
                   check=True)
    return program
