"""Past orders of another shop: how fast `orderctl import` brings them in, and what that costs."""

import csv
import json
import random
import subprocess
from datetime import UTC, datetime, timedelta

from .database import Broken, Database
from .figures import Figure
from .processes import measure_cpu
from .servers import BIN_DIR, OUTPUT, environment, server_pids

SEED = 20_261_124
LINES = 500_000
USERS = 20_000
PRODUCTS = 5_000
MOST_LINES_IN_ORDER = 5
COLUMNS = ["order_ref", "user_ref", "product_ref", "product_name", "category", "quantity", "unit_price", "ordered_at"]
CATEGORIES = ["과일, 채소", "유제품", "Bread", 'Frozen "ready" meals', ""]


def past(options):
    """orderctl import of a file of past orders, with 1 to 5 products each."""
    path = OUTPUT / "past.csv"
    lines, orders, pieces = _write(path, int(LINES * options.scale))
    database = Database("jumun")
    per_second, client, server = [], [], []
    for number in range(1, options.rounds + 1):
        database.open_shop()
        database.checkpoint()
        before = measure_cpu(server_pids())
        report = _import(path, database)
        after = measure_cpu(server_pids())
        if report["lines"]["imported"] != lines or report["orders"]["imported"] != orders:
            raise Broken(f"of {lines} lines and {orders} orders were imported: {report}")
        _check(database, orders, pieces)
        again = _import(path, database)
        if again["lines"]["importedBefore"] != lines or again["lines"]["imported"]:
            raise Broken(f"the second import of the same file was not idle: {again}")
        per_second.append(1000 * lines / report["durationMs"])
        client.append(1e6 * (after.generators - before.generators) / lines)
        server.append(1e6 * after.since(before)["postgres"] / lines)
        print(f"  round {number}: {per_second[-1]:,.0f} lines/s", flush=True)
    path.unlink()
    both = [own + other for own, other in zip(client, server, strict=True)]
    return [
        Figure(f"import of {lines:,} lines", per_second, "lines/s", at_least=20_000),
        Figure("import: CPU of orderctl and PostgreSQL", both, "CPU-µs per line"),
        Figure("import: of that orderctl", client, "CPU-µs per line"),
    ]


def _write(path, most_lines):
    """Draws whole orders; how many lines, orders and pieces they have."""
    draw = random.Random(SEED)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=90)
    lines, orders, pieces = 0, 0, 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        while lines <= most_lines - MOST_LINES_IN_ORDER:
            orders += 1
            at = (start + timedelta(seconds=90 * 86_400 * lines / most_lines)).isoformat(timespec="milliseconds")
            user = f"customer-{draw.randrange(USERS)}"
            for product in draw.sample(range(PRODUCTS), draw.randint(1, MOST_LINES_IN_ORDER)):
                quantity = draw.choice([1, 1, 1, 2, 3, 10])
                writer.writerow([
                    f"2026-{orders:08}", user, f"sku-{product:05}", f"상품 {product}",
                    CATEGORIES[product % len(CATEGORIES)], quantity, 500 + 10 * (product % 4_000), at,
                ])
                lines += 1
                pieces += quantity
    return lines, orders, pieces


def _import(path, database):
    done = subprocess.run(
        [BIN_DIR / "orderctl", "import", path, "--format", "json"], env=environment("jumun_owner", database.name),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
    )
    if done.returncode != 0:
        raise Broken(f"the import ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def _check(database, orders, pieces):
    found = database.query("SELECT (SELECT count(*) FROM orders), (SELECT sum(quantity) FROM sales_ledger)")
    if found != f"{orders}|{pieces}":
        raise Broken(f"{orders}|{pieces} orders and pieces are in the file, {found} in the database")
    audit = subprocess.run(
        [BIN_DIR / "orderctl", "audit"], env=environment("jumun_owner", database.name), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )
    if audit.returncode != 0:
        raise Broken(audit.stdout)
