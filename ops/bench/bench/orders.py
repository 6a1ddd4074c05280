"""Orders a second: ours through HTTP, and the baselines in pgbench, on the same tables."""

from dataclasses import dataclass

from . import generators
from .database import PRODUCTS, USERS, Broken, Database
from .figures import Figure, ratios
from .order_api import OrderAPI
from .processes import measure_cpu

WARM_UP_S = 2
# Clients of each baseline. The batches are two: one works while the other waits for the disk.
BASELINES = {"textbook": 16, "procedure": 16, "batch": 2}
ORDERS_IN_BATCH = 256


@dataclass
class OrderLoad:
    """One load of orders on the order-api."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_order: float
    cpu_us_by_process: dict
    wal_bytes_per_order: float
    orders_per_fsync: float
    relay_lag_s: float
    others_cpu_percent: float


def measure_ours(database, seconds, last_product):
    """Orders for products 1 to `last_product` until the last event is published."""
    database.checkpoint()
    earlier = database.orders()
    with OrderAPI(database) as api:
        warm_up = generators.place_orders(WARM_UP_S, last=last_product)
        warm = database.orders()
        api.wait_for_relay(warm - earlier)
        cpu, wal = measure_cpu(api.pids()), database.wal()
        load = generators.place_orders(seconds, last=last_product)
        placed = database.orders() - warm
        relay_lag_s = api.wait_for_relay(warm - earlier + placed)
        cpu_after, wal_after = measure_cpu(api.pids()), database.wal()
    if load.refused or warm_up.refused:
        raise Broken(f"{load.refused + warm_up.refused} orders were refused")
    acknowledged = earlier + warm_up.accepted + load.accepted
    database.check(acknowledged, acknowledged + 2 * generators.CONNECTIONS)
    spent_us = {name: 1e6 * seconds / placed for name, seconds in cpu_after.since(cpu).items()}
    return OrderLoad(
        per_second=load.per_second,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        cpu_us_per_order=sum(spent_us.values()),
        cpu_us_by_process=spent_us,
        wal_bytes_per_order=(wal_after.bytes - wal.bytes) / placed,
        orders_per_fsync=placed / (wal_after.syncs - wal.syncs),
        relay_lag_s=relay_lag_s,
        others_cpu_percent=cpu_after.others_percent(cpu),
    )


def measure_baseline(database, name, seconds, last_product):
    """Orders a second of one of our pgbench scripts."""
    def run(duration):
        return generators.pgbench(
            database, name, duration, BASELINES[name], users=USERS, products=last_product, batch=ORDERS_IN_BATCH
        )

    database.checkpoint()
    orders = ORDERS_IN_BATCH if name == "batch" else 1
    warm_up, load = run(WARM_UP_S), run(seconds)
    placed = (warm_up.count + load.count) * orders
    database.check(placed, placed)
    return load.per_second * orders


OTHERS_UNIT = "% of the machine used by others"
OUR_FIGURES = {
    "per_second": "orders/s",
    "p50_ms": "p50 in ms",
    "p99_ms": "p99 in ms",
    "cpu_us_per_order": "CPU-µs per order, all processes",
    "wal_bytes_per_order": "WAL bytes per order",
    "orders_per_fsync": "orders per fsync",
    "relay_lag_s": "s until the last event is published",
    "others_cpu_percent": OTHERS_UNIT,
}


def throughput(options):
    """1,000 products: ours and the baselines."""
    ours, baselines = _compare("1,000 products", options, PRODUCTS)
    targets = {"textbook": 4.0, "procedure": 3.5}
    return _figures("1,000 products", ours, baselines, targets)


def hot(options):
    """One product that everybody wants: ours, the baselines, and ours on 1,000 products."""
    many = []
    ours, baselines = _compare("one hot product", options, 1, before_ours=many)
    between = ratios([load.per_second for load in ours], many)
    return [
        *_figures("one hot product", ours, baselines, {"textbook": 25, "procedure": 8}),
        Figure("one hot product ÷ 1,000 products, both ours", between, at_least=1.0),
    ]


def _compare(title, options, last_product, before_ours=None):
    """All loads one after the other in every round, each on a shop made anew."""
    database, ours, baselines = Database("jumun"), [], {name: [] for name in BASELINES}
    for number in range(1, options.rounds + 1):
        for name, samples in baselines.items():
            database.open_shop()
            samples.append(measure_baseline(database, name, options.seconds, last_product))
            print(f"  {title}, round {number}: {name} {samples[-1]:,.0f} orders/s", flush=True)
        if before_ours is not None:
            database.open_shop()
            before_ours.append(measure_ours(database, options.seconds, PRODUCTS).per_second)
        database.open_shop()
        ours.append(measure_ours(database, options.seconds, last_product))
        print(f"  {title}, round {number}: order-api {ours[-1].per_second:,.0f} orders/s", flush=True)
    return ours, baselines


def _figures(title, ours, baselines, targets):
    """The ratios, with their targets by baseline, then what is behind them."""
    per_second = [load.per_second for load in ours]
    return [
        *(Figure(f"{title}: order-api ÷ {name}", ratios(per_second, samples), at_least=targets.get(name))
          for name, samples in baselines.items()),
        *(Figure(f"{title}: {name}", samples, "orders/s") for name, samples in baselines.items()),
        *(Figure(f"{title}: order-api", [getattr(load, field) for load in ours], unit)
          for field, unit in OUR_FIGURES.items()),
        *(Figure(f"{title}: {name}", [load.cpu_us_by_process[name] for load in ours], "CPU-µs per order")
          for name in ours[0].cpu_us_by_process),
    ]
