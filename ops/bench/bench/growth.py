"""What changes with the number of orders: speed with full tables, memory after many orders."""

import time

from . import generators
from .database import PRODUCTS, Broken, Database
from .figures import Figure, ratios
from .order_api import OrderAPI
from .orders import measure_ours
from .servers import forget_events


def large(options):
    """Orders a second with millions of orders in the tables, beside the same with none."""
    empty, full = Database("jumun"), Database("jumun_large")
    start = time.monotonic()
    full.open_shop()
    full.add_old_orders(options.old_orders)
    print(f"  {options.old_orders:,} orders are there after {time.monotonic() - start:.0f} s", flush=True)
    with_none, with_many = [], []
    for number in range(1, options.rounds + 1):
        empty.open_shop()
        with_none.append(measure_ours(empty, options.seconds, PRODUCTS).per_second)
        with_many.append(measure_ours(full, options.seconds, PRODUCTS).per_second)
        print(f"  round {number}: {with_none[-1]:,.0f} and {with_many[-1]:,.0f} orders/s", flush=True)
    return [
        Figure(f"orders/s with {options.old_orders:,} orders in the tables ÷ with none", ratios(with_many, with_none),
               at_least=0.8),
        Figure(f"with {options.old_orders:,} orders in the tables", with_many, "orders/s"),
        Figure("with none", with_none, "orders/s"),
    ]


def memory(options):
    """What the order-api occupies after many orders, and how much that grew over the last half."""
    database = Database("jumun")
    database.open_shop()
    placed, sizes = 0, []
    with OrderAPI(database) as api:
        while placed < options.memory_orders:
            load = generators.place_orders(options.seconds)
            if load.refused:
                raise Broken(f"{load.refused} orders were refused")
            placed += load.accepted
            api.wait_for_relay(placed)
            sizes.append((placed, api.resident_megabytes()))
            forget_events()
            print(f"  {placed:,} orders: {sizes[-1][1]:.1f} MB", flush=True)
    database.check(placed, placed + len(sizes) * generators.CONNECTIONS)
    audit_seconds = database.audit()
    half = next(size for count, size in sizes if count >= placed / 2)
    last = sizes[-1][1]
    title = f"order-api memory after {options.memory_orders:,} orders"
    return [
        Figure(title, [last], "MB", at_most=200),
        Figure(f"{title}: growth over the last half", [100 * (last / half - 1)], "%", at_most=5),
        Figure(f"orderctl audit of {options.memory_orders:,} orders", [audit_seconds], "s", at_most=10),
    ]
