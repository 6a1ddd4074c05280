"""A constant stream of orders while something is being broken."""

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

from .system import OUTPUT, ROOT, Failed

K6 = ROOT / ".build" / "bench" / "venv" / "bin" / "k6"
SCRIPT = ROOT / "ops" / "bench" / "k6" / "open_loop.js"
USERS = 2_000
# The last product is left out: a scenario may lock it.
PRODUCTS = 200


@dataclass
class Result:
    """What the clients saw; filled in when the load has ended."""

    sent: int = 0
    failed: int = 0
    p99_ms: float = 0.0


@contextmanager
def orders(system, rate, seconds):
    """`rate` orders a second for that long, whatever becomes of them; leaving waits for the end."""
    summary = OUTPUT / "k6-summary.json"
    settings = {
        "URL": system["API_URL"], "USERS": USERS, "PRODUCTS": PRODUCTS - 1, "RATE": rate, "SECONDS": int(seconds),
        "SUMMARY": summary, "FIRST_USER": system.first_user, "FIRST_PRODUCT": system.first_product,
    }
    options = [option for name, value in settings.items() for option in ("-e", f"{name}={value}")]
    result = Result()
    with open(OUTPUT / "k6.log", "ab") as log:
        process = subprocess.Popen(
            [K6, "run", "--quiet", "--no-usage-report", *options, SCRIPT], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield result
    except BaseException:
        process.terminate()
        process.wait(30)
        raise
    if process.wait(seconds + 60) != 0:
        raise Failed(f"k6 ended with {process.returncode}; see {OUTPUT / 'k6.log'}")
    metrics = {name: metric["values"] for name, metric in json.loads(summary.read_text())["metrics"].items()}
    result.sent = int(metrics["http_reqs"]["count"])
    result.failed = round(metrics["http_req_failed"]["rate"] * result.sent)
    result.failed += int(metrics.get("dropped_iterations", {}).get("count", 0))
    result.p99_ms = metrics["http_req_duration"]["p(99)"]
