"""The load generators, each a program of its own: wrk, pgbench and k6."""

import json
import re
import subprocess
from dataclasses import dataclass

from .database import PRODUCTS, USERS, Broken
from .order_api import URL
from .servers import FOLDER, OUTPUT, POSTGRES_BIN, superuser_environment

CONNECTIONS = 256
THREADS = 2


@dataclass
class Answers:
    """What came back."""

    accepted: int
    refused: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self):
        return (self.accepted + self.refused) / self.seconds


def place_orders(seconds, first=1, last=PRODUCTS, quantity=1):
    """wrk: orders of random buyers for products from `first` to `last`."""
    return _wrk("orders.lua", "/v1/orders", seconds, [USERS, first, last, quantity])


def read(path, seconds):
    """wrk: GET of one path."""
    return _wrk("summary.lua", path, seconds, [])


def _wrk(script, path, seconds, arguments):
    command = ["wrk", "-t", THREADS, "-c", CONNECTIONS, "-d", f"{seconds}s", "--timeout", "10s", "-s", script,
               URL + path, "--", *arguments]
    output = _run(command, cwd=FOLDER / "wrk")
    result = json.loads(re.search(r"^RESULT (.*)$", output, re.MULTILINE)[1])
    if result["broken"]:
        raise Broken(f"{result['broken']} connections of wrk failed")
    return Answers(
        accepted=result["answers"] - result["refused"],
        refused=result["refused"],
        seconds=result["seconds"],
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
    )


@dataclass
class Transactions:
    """What pgbench did."""

    count: int
    per_second: float


def pgbench(database, script, seconds, clients, **variables):
    """pgbench with prepared statements, one connection a client."""
    definitions = [option for name, value in variables.items() for option in ("-D", f"{name}={value}")]
    command = [POSTGRES_BIN / "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", min(clients, THREADS),
               "-T", seconds, "-f", FOLDER / "pgbench" / f"{script}.sql", *definitions]
    output = _run(command, env=superuser_environment(database.name))
    failed = re.search(r"number of failed transactions: (\d+)", output)
    if failed and int(failed[1]):
        raise Broken(f"{failed[1]} transactions of pgbench failed")
    return Transactions(
        count=int(re.search(r"transactions actually processed: (\d+)", output)[1]),
        per_second=float(re.search(r"tps = ([\d.]+)", output)[1]),
    )


def k6(script, **variables):
    """k6: the values of its summary's metrics by name."""
    summary = OUTPUT / "k6-summary.json"
    settings = [option for name, value in variables.items() for option in ("-e", f"{name.upper()}={value}")]
    _run([OUTPUT / "venv" / "bin" / "k6", "run", "--quiet", "--no-usage-report", "-e", f"SUMMARY={summary}", *settings,
          FOLDER / "k6" / f"{script}.js"])
    metrics = json.loads(summary.read_text())["metrics"]
    return {name: metric["values"] for name, metric in metrics.items()}


def _run(command, **options):
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode != 0:
        raise Broken(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
