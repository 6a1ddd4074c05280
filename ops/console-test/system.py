"""All of Jumun beside the test's servers: its processes on free ports, a shop, and customers who order."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ["JUMUN_TEST_BIN_DIR"])
LOGS = Path(os.environ["JUMUN_TEST_RUN_DIR"]) / "log"
TOKEN = "token-of-the-console-test-long-enough"
COMMANDS = {"data-platform": "serve", "order-api": "serve", "consumer": "run", "scheduler": "run"}


def free_ports(count):
    """Ports on which nothing listens; all different, since each is held until the last is found."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def call(method, url, body=None):
    """Sends JSON; the answer, parsed. Raises `urllib.error.HTTPError` for anything but success."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or "null")


def eventually(what, condition, seconds=30):
    """Waits until the condition holds, and returns what it gave; raises `AssertionError` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return value


class System:
    """The processes; `with` starts them, and ends them however the test ends."""

    def __init__(self):
        ports = free_ports(5)
        self.api, self.consumer, self.scheduler, self.platform, self.operator = (
            f"http://127.0.0.1:{port}" for port in ports
        )
        keys = ["API_PORT", "CONSUMER_PORT", "SCHEDULER_PORT", "PLATFORM_PORT", "OPERATOR_PORT"]
        self.environment = {
            "PATH": os.environ["PATH"],
            **{key: str(port) for key, port in zip(keys, ports)},
            "AMQP_URL": os.environ["JUMUN_TEST_AMQP_URL"],
            "REDIS_URL": os.environ["JUMUN_TEST_REDIS_URL"],
            "MIGRATIONS_DIR": os.environ["JUMUN_TEST_MIGRATIONS_DIR"],
            "BIN_DIR": str(BINARIES),
            "SCHEDULE_FILE": str(ROOT / "ops/schedule.toml"),
            "LISTEN_HOST": "127.0.0.1",
            "OPERATOR_HOST": "127.0.0.1",
            "LOG_LEVEL": "info",
            "PLATFORM_URL": self.platform,
            "CONSUMER_URL": self.consumer,
            "SCHEDULER_URL": self.scheduler,
            "CONSUMER_LAG_SAMPLE_MS": "500",
        }
        for role in ("aggregator", "audit", "cleaner"):
            self.environment[f"{role.upper()}_DATABASE_URL"] = self.database_url(role)
        self.running = {}

    @staticmethod
    def database_url(role):
        address = urlsplit(os.environ["JUMUN_TEST_ADMIN_DATABASE_URL"])
        password = os.environ["JUMUN_TEST_ROLE_PASSWORD"]
        return f"postgres://jumun_{role}:{password}@{address.hostname}:{address.port}/jumun"

    def settings_of(self, name):
        role = {"order-api": "api", "orderctl": "owner"}.get(name, name)
        settings = {**self.environment, "DATABASE_URL": self.database_url(role)}
        if name == "data-platform":
            del settings["DATABASE_URL"]
        if name == "order-api":
            settings |= {"OPERATOR_TOKEN": TOKEN, "MOCK_PLATFORM_URL": self.platform}
        return settings

    def run(self, name, *arguments):
        """Runs an executable to its end."""
        subprocess.run(
            [BINARIES / name, *arguments], env=self.settings_of(name), check=True, timeout=60, stdout=subprocess.DEVNULL
        )

    def start(self, name):
        with open(LOGS / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(
                [BINARIES / name, COMMANDS[name]], env=self.settings_of(name), stdout=log, stderr=log
            )

    def is_ready(self, url):
        try:
            return call("GET", f"{url}/health/ready") is not None
        except (OSError, urllib.error.URLError):
            return False

    def stop(self, name):
        """SIGTERM; it must end with 0 within 10 s."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=10)
        assert code == 0, f"{name} ended with {code}"

    def signal(self, name, number):
        self.running[name].send_signal(number)

    def __enter__(self):
        self.run("orderctl", "migrate")
        demo = ROOT / ".build/test-data/demo"
        self.run("orderctl", "seed", "--catalogue", demo / "catalogue.csv", "--users", demo / "users.csv")
        for name in COMMANDS:
            self.start(name)
        for url in (self.platform, self.api, self.consumer, self.scheduler):
            eventually(f"{url} is ready", lambda url=url: self.is_ready(url))
        return self

    def __exit__(self, *failure):
        for process in self.running.values():
            process.kill()
            process.wait()
        self.running.clear()


class Customers:
    """Order again and again, in the background, each time another product; `with` ends them."""

    def __init__(self, system, orders_per_second):
        self.system = system
        self.pause = 1 / orders_per_second
        self.ended = threading.Event()
        self.failures = []
        self.ids = []
        self.thread = threading.Thread(target=self._order_again_and_again)

    def __enter__(self):
        answer = call("POST", f"{self.system.api}/v1/users", {"name": "Mina", "email": "mina@example.com"})
        self.user = answer["id"]
        url = f"{self.system.api}/v1/users/{self.user}/balance/charges"
        call("POST", url, {"amount": 1_000_000_000})
        products = call("GET", f"{self.system.api}/v1/products?limit=20")["data"]
        self.products = [product["id"] for product in products]
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.ended.set()
        self.thread.join(timeout=15)

    def order(self, number=0):
        """One order; its id. The first products sell best."""
        place = min(number * 7 % 23, number * 5 % 13) % len(self.products)
        body = {"userId": self.user, "items": [{"productId": self.products[place], "quantity": 1 + number % 3}]}
        return call("POST", f"{self.system.api}/v1/orders", body)["id"]

    def _order_again_and_again(self):
        number = 0
        while not self.ended.wait(self.pause):
            number += 1
            try:
                self.ids.append(self.order(number))
            except (OSError, urllib.error.URLError) as error:
                self.failures.append(f"order {number}: {error}")
