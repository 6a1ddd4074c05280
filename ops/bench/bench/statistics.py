"""The ranking: what a run costs beside counting everything, with a larger window, and while orders come."""

import json
import subprocess
from datetime import UTC, datetime, timedelta

from .database import PRODUCTS, Broken, Database
from .figures import Figure, ratios
from .orders import measure_ours
from .servers import BIN_DIR, FOLDER, environment, forget_rankings, psql
from .services import Follower

SIZES = [1_000_000, 10_000_000, 30_000_000]
# Of these the comparison with the full count is the one with a target.
COMPARED_SIZE = SIZES[1]
WINDOW_PRODUCTS = 100_000
NEW_ROWS = 10_000
NEW_WITHIN = "10 minutes"
SEED = 20_261_124
MOST_MISSED_RUNS = 3


def statistics(options):
    """A run with 10,000 new sales beside counting the window anew, at three sizes; and orders while it follows."""
    figures, times = [], {}
    ledger = Ledger(Database("jumun_statistics"))
    for size in SIZES:
        rows = int(size * options.scale)
        rebuilt_ms = ledger.grow(rows)
        runs, process, full = [], [], []
        for _ in range(options.rounds):
            run_ms, process_ms = ledger.run()
            runs.append(run_ms)
            process.append(process_ms)
            full.append(ledger.count_everything())
            print(f"  {rows:,} rows: a run {runs[-1]:.0f} ms, the full count {full[-1]:.0f} ms", flush=True)
        turn_ms = ledger.turn_the_hour()
        ledger.verify()
        times[size] = runs
        title = f"{rows:,} sales in the window of {WINDOW_PRODUCTS:,} products"
        figures += [
            Figure(f"{title}: counting it anew ÷ a run with {NEW_ROWS:,} new", ratios(full, runs),
                   at_least=50 if size == COMPARED_SIZE else None),
            Figure(f"{title}: a run, from connecting to COMMIT", runs, "ms"),
            Figure(f"{title}: the whole process of a run", process, "ms"),
            Figure(f"{title}: counting it anew", full, "ms"),
            Figure(f"{title}: the run in which an hour ends", [turn_ms], "ms"),
            Figure(f"{title}: rebuild", [rebuilt_ms], "ms"),
        ]
    spread = [max(row) / min(row) for row in zip(*times.values(), strict=True)]
    figures.append(Figure("the slowest ÷ the fastest of these three sizes", spread, at_most=1.5))
    ledger.close()
    return figures + _while_orders_come(options)


class Ledger:
    """A ledger of a known size, and a ranking that is kept from it."""

    def __init__(self, database):
        self._database = database
        self._rows = 0
        # A whole hour, so that all runs of one size have the same window, however long this takes.
        self._until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        self._database.run_file("statistics.sql")
        forget_rankings()

    def grow(self, rows):
        """Adds sales until there are so many; how long counting all of them anew took, in ms."""
        self._add(rows - self._rows, "72 hours")
        self._database.query("VACUUM ANALYZE sales_ledger")
        rebuilt = self._aggregate("rebuild")
        # Back to the moment until which there are sales, and everything that a run touches in memory.
        self._aggregate("run", "--at", self._at(self._until))
        self._database.query("VACUUM ANALYZE sales_hourly, sales_window")
        self._database.checkpoint()
        self.run()
        return rebuilt["durationMs"]

    def run(self):
        """Adds the new sales and takes them in; how long that took from connecting to COMMIT, and as a process, in ms."""
        self._add(NEW_ROWS, NEW_WITHIN)
        start = datetime.now(UTC)
        done = self._aggregate("run", "--at", self._at(self._until))
        elapsed = datetime.now(UTC) - start
        if done["rowsRead"] != NEW_ROWS:
            raise Broken(f"a run read {done['rowsRead']} rows, where {NEW_ROWS} were new")
        return done["durationMs"], elapsed / timedelta(milliseconds=1)

    def turn_the_hour(self):
        """The run that leaves an hour's sales behind, and takes in nothing; then the next goes back."""
        done = self._aggregate("run", "--at", self._at(self._until + timedelta(hours=1)))
        self._aggregate("run", "--at", self._at(self._until))
        return done["durationMs"]

    def count_everything(self):
        """How long the grouping of the whole window takes, in ms."""
        plan = psql(
            self._database.name, "-f", FOLDER / "sql" / "full_ranking.sql", until=self._at(self._until),
            **{"from": self._at(self._until - timedelta(hours=72))},
        )
        return json.loads(plan)[0]["Execution Time"]

    def verify(self):
        self._aggregate("verify")

    def close(self):
        """Gives its disk space back."""
        self._database.run_file("statistics.sql")

    def _add(self, count, spread):
        self._database.run_file(
            "sales.sql", first=self._rows + 1, last=self._rows + count, products=WINDOW_PRODUCTS, seed=SEED,
            until=self._at(self._until), spread=spread,
        )
        self._rows += count

    def _aggregate(self, *arguments):
        return aggregate(self._database, *arguments)

    @staticmethod
    def _at(moment):
        return moment.isoformat().replace("+00:00", "Z")


def aggregate(database, *arguments):
    """What the aggregator answers; it must succeed."""
    done = subprocess.run(
        [BIN_DIR / "aggregator", *arguments, "--format", "json"], env=environment("jumun_aggregator", database.name),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    if done.returncode != 0:
        raise Broken(f"aggregator {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")
    return json.loads(done.stdout)


def _while_orders_come(options):
    """Orders a second beside `aggregator follow`, and without it."""
    database, alone, followed, runs = Database("jumun"), [], [], []
    for number in range(1, options.rounds + 1):
        database.open_shop()
        alone.append(measure_ours(database, options.seconds, PRODUCTS).per_second)
        database.open_shop()
        forget_rankings()
        with Follower(database):
            followed.append(measure_ours(database, options.seconds, PRODUCTS).per_second)
        runs.append(int(database.query("SELECT count(*) FROM aggregation_runs WHERE rows_read > 0")))
        if runs[-1] < options.seconds - MOST_MISSED_RUNS:
            raise Broken(f"only {runs[-1]} runs had something to do in {options.seconds} s")
        aggregate(database, "run")
        aggregate(database, "verify")
        print(f"  round {number}: {alone[-1]:,.0f} and, followed, {followed[-1]:,.0f} orders/s", flush=True)
    return [
        Figure("orders/s while the aggregator follows ÷ without", ratios(followed, alone), at_least=0.9),
        Figure("orders/s while the aggregator follows", followed, "orders/s"),
        Figure("orders/s without it", alone, "orders/s"),
        Figure("runs that took in new sales in each of these", runs),
    ]
