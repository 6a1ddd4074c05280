"""Answers that change nothing, each as a ratio to the least that the same server can do."""

import json
import subprocess

from . import generators
from .database import SOLD_OUT_PRODUCT, Broken, Database
from .figures import Figure, ratios
from .order_api import OrderAPI
from .servers import BIN_DIR, environment

FILL_S = 2


def refusals(options):
    """Orders for a sold-out product, beside orders whose quantity is 0: parsed, found invalid, and answered."""
    database = Database("jumun")
    database.open_shop()
    with OrderAPI(database) as api:
        invalid, sold_out = [], []
        for _ in range(options.rounds):
            invalid.append(generators.place_orders(options.seconds, quantity=0).per_second)
            sold_out.append(generators.place_orders(options.seconds, SOLD_OUT_PRODUCT, SOLD_OUT_PRODUCT).per_second)
        statuses = api.order_statuses()
    if statuses != {"409", "422"}:
        raise Broken(f"answered were {', '.join(sorted(statuses))}, where 409 and 422 were due")
    database.check(0, 0)
    return [
        Figure("refusals of a sold-out product ÷ a POST that only parses and answers", ratios(sold_out, invalid),
               at_least=0.8),
        Figure("refusals of a sold-out product", sold_out, "answers/s"),
        Figure("a POST that only parses and answers (422)", invalid, "answers/s"),
    ]


def popular(options):
    """GET /v1/products/popular, out of Redis, beside GET /health/live."""
    database = Database("jumun")
    database.open_shop()
    with OrderAPI(database) as api:
        placed = generators.place_orders(FILL_S)
        subprocess.run(
            [BIN_DIR / "aggregator", "run"], env=environment("jumun_aggregator", database.name), check=True,
            stdout=subprocess.DEVNULL,
        )
        lists, lives = [], []
        for _ in range(options.rounds):
            lives.append(generators.read("/health/live", options.seconds))
            lists.append(generators.read("/v1/products/popular", options.seconds))
        answer = json.loads(api.get("/v1/products/popular"))
    if any(load.refused for load in lists + lives):
        raise Broken("a GET was refused")
    if answer["source"] != "redis" or len(answer["data"]) != 5:
        raise Broken(f"the list was not the one in Redis: {answer}")
    database.check(placed.accepted, placed.accepted + generators.CONNECTIONS)
    lists, lives = [load.per_second for load in lists], [load.per_second for load in lives]
    return [
        Figure("GET /v1/products/popular ÷ GET /health/live", ratios(lists, lives), at_least=0.8),
        Figure("GET /v1/products/popular", lists, "answers/s"),
        Figure("GET /health/live", lives, "answers/s"),
    ]
