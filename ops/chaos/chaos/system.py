"""The system under attack: its addresses, its processes, what it says of itself, and the ways to hurt it."""

import json
import os
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
OUTPUT = ROOT / ".build" / "chaos"
PSQL = "/usr/lib/postgresql/15/bin/psql"
CONTROL = ROOT / "ops" / "dev" / "server-control"

FORWARD_QUEUE = "dataplatform.forward.v1"
EVENTS_EXCHANGE = "order.events"
RETRY_EXCHANGE = "dataplatform.retry"
ALL_EVENTS = "order.#"
# A statement for psql of how many events the platform does not have yet.
UNDELIVERED = """
    SELECT count(*) FROM outbox_events o
    WHERE NOT EXISTS (SELECT FROM event_deliveries d WHERE d.order_id = o.order_id AND d.event_id = o.event_id)
"""


class Failed(Exception):
    """Something that must hold did not."""


def require(holds, otherwise):
    if not holds:
        raise Failed(otherwise)


def wait_until(condition, timeout_s, otherwise):
    """How long it took until the condition was true, in seconds."""
    start = time.monotonic()
    while not condition():
        require(time.monotonic() - start < timeout_s, f"{otherwise} within {timeout_s:g} s")
        time.sleep(0.25)
    return time.monotonic() - start


def _read_environment():
    lines = subprocess.run([ROOT / "ops/dev/env"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return dict(shlex.split(line)[0].split("=", 1) for line in lines if "=" in line)


class System:
    """What `make up` has brought up in JUMUN_RUN_DIR."""

    def __init__(self):
        self.environment = _read_environment()
        self.first_user = self.first_product = 0

    def __getitem__(self, key):
        return self.environment[key]

    # PostgreSQL

    def psql_command(self, *arguments):
        return [PSQL, "-XqAt", "-v", "ON_ERROR_STOP=1", self["ADMIN_DATABASE_URL"].rsplit("/", 1)[0] + "/jumun",
                *arguments]

    def query(self, statement):
        return subprocess.run(
            self.psql_command("-c", statement), check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def psql_file(self, path):
        subprocess.run(self.psql_command("-f", path), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def open_shop(self, users, products):
        """Buyers with money and products in stock beside those that are there."""
        self.query((FOLDER / "shop.sql").read_text().replace(":users", str(users)).replace(":products", str(products)))
        self.first_user = int(self.query("SELECT min(id) FROM users WHERE email LIKE 'chaos-%'"))
        self.first_product = int(self.query("SELECT min(id) FROM products WHERE category = 'chaos'"))

    # HTTP

    def get(self, service, path):
        with urllib.request.urlopen(self[f"{service}_URL"] + path, timeout=10) as response:
            return response.read().decode()

    def send(self, service, path, body, method="POST"):
        request = urllib.request.Request(
            self[f"{service}_URL"] + path, json.dumps(body).encode(), {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read() or b"null")

    def metric(self, service, name):
        """The value of one metric, written with its labels as Prometheus shows it; 0 when it is not there."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get(service, "/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0

    # The platform

    def set_faults(self, **faults):
        self.send("PLATFORM", "/v1/faults", {"mode": "ok"} | faults, "PUT")

    def platform(self):
        return json.loads(self.get("PLATFORM", "/v1/stats"))

    # RabbitMQ

    def broker(self, path, method="GET", body=None):
        url = urlsplit(self["RABBITMQ_MANAGEMENT_URL"])
        request = urllib.request.Request(
            f"http://{url.hostname}:{url.port}/api/{path}", json.dumps(body).encode() if body is not None else None,
            {"Content-Type": "application/json"}, method=method,
        )
        credentials = b64encode(f"{url.username}:{url.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")

    def dead_letters(self):
        """What the consumer's own gauge says, which does not wait for the broker's statistics."""
        return int(self.metric("CONSUMER", "event_dlq_messages"))

    # Processes

    def control(self, action, name):
        subprocess.run([CONTROL, action, name], check=True, stdout=subprocess.DEVNULL)

    def pid(self, name):
        return int(_read_environment()[f"PID_{name.upper().replace('-', '_')}"])

    def cpu_seconds(self, name):
        """Processor time of a process and its children so far."""
        parent = self.pid(name)
        children = subprocess.run(["pgrep", "-P", str(parent)], stdout=subprocess.PIPE, text=True, check=False).stdout
        return sum(_cpu_seconds(int(pid)) for pid in [parent, *children.split()])

    def orderctl(self, *arguments, check=True):
        done = subprocess.run(
            [Path(self["BIN_DIR"]) / "orderctl", *map(str, arguments)], env=os.environ | self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        require(done.returncode == 0 or not check, f"orderctl {arguments}: {done.stdout}")
        return done.stdout

    # What must be true

    def wait_until_delivered(self, timeout_s):
        """Until the platform has every event that was committed; how long that took, in seconds."""
        return wait_until(lambda: self.query(UNDELIVERED) == "0", timeout_s, "events have not reached the platform")

    def require_exactly_once(self):
        """The platform knows as many ids as were committed, and none that was not; the audit finds nothing."""
        committed = int(self.query("SELECT count(*) FROM outbox_events"))
        known = self.platform()["unique"]
        require(known == committed, f"{committed} events are committed, the platform knows {known}")
        self.orderctl("audit")
        return committed


def _cpu_seconds(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
