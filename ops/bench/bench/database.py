"""The shop in PostgreSQL: making it, counting in it, and proving that it is right."""

import subprocess
import time
from dataclasses import dataclass

from .servers import BIN_DIR, FOLDER, environment, psql

USERS = 10_000
PRODUCTS = 1_000
PRICE = 1_000
BALANCE = 1_000_000_000
STOCK = 1_000_000_000
SOLD_OUT_PRODUCT = PRODUCTS + 1


class Broken(Exception):
    """A load that left something wrong: what was measured is worth nothing."""


@dataclass
class WAL:
    """The write-ahead log so far."""

    bytes: int
    syncs: int


class Database:
    """A database with our schema and the functions of the baselines."""

    def __init__(self, name):
        self.name = name
        if not self.query(f"SELECT 1 FROM pg_database WHERE datname = '{name}'", database="postgres"):
            self.query(f"CREATE DATABASE {name} OWNER jumun_owner", database="postgres")
        migrate = [BIN_DIR / "orderctl", "migrate"]
        subprocess.run(migrate, env=environment("jumun_owner", name), check=True, stdout=subprocess.DEVNULL)
        self.run_file("baselines.sql")

    def query(self, statement, database=None):
        return psql(database or self.name, "-c", statement)

    def run_file(self, name, **variables):
        return psql(self.name, "-f", FOLDER / "sql" / name, **variables)

    def open_shop(self):
        """Removes everything and makes the shop anew."""
        self.run_file("shop.sql", users=USERS, products=PRODUCTS, balance=BALANCE, price=PRICE, stock=STOCK)

    def add_old_orders(self, count):
        """Fills an empty shop with that many orders whose events are long published."""
        self.run_file("old_orders.sql", users=USERS, products=PRODUCTS, price=PRICE, orders=count)

    def orders(self):
        return int(self.query("SELECT count(*) FROM orders"))

    def checkpoint(self):
        """So that every load begins with the same work ahead for the disk."""
        self.query("CHECKPOINT")

    def wal(self):
        """Sessions report what they did within a second or when they end."""
        at, syncs = self.query(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'), wal_sync FROM pg_stat_wal"
        ).split("|")
        return WAL(int(at), int(syncs))

    def durability(self):
        """The settings that make a commit durable, as they are."""
        names = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "wal_level")
        return {name: self.query(f"SHOW {name}") for name in names}

    def check(self, least_orders, most_orders):
        """Raises Broken unless every invariant holds and as many orders are there as were placed.

        Those on their way when a load ended may be there or not.
        """
        count = self.orders()
        if not least_orders <= count <= most_orders:
            raise Broken(f"{count:,} orders are there, {least_orders:,} to {most_orders:,} were placed")
        violations = self.run_file("violations.sql")
        if violations:
            raise Broken(violations)
        self.audit()

    def audit(self):
        """Raises Broken unless `orderctl audit` finds nothing; how long it took, in seconds."""
        start = time.monotonic()
        audit = subprocess.run(
            [BIN_DIR / "orderctl", "audit"], env=environment("jumun_owner", self.name),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        if audit.returncode != 0:
            raise Broken(audit.stdout)
        return time.monotonic() - start
