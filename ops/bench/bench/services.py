"""Our long-running executables, as contexts."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request

from .database import Broken
from .servers import BIN_DIR, HOST, OUTPUT, PORTS, environment

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 15


class Service:
    """A release executable; its log is kept beside the result."""

    def __init__(self, name, command, role, database):
        self.name = name
        self._command, self._role, self._database = command, role, database
        self.url = f"http://{HOST}:{PORTS[name]}"

    def __enter__(self):
        with open(OUTPUT / f"{self.name}.log", "ab") as log:
            self._process = subprocess.Popen(
                [BIN_DIR / self.name, self._command], env=environment(self._role, self._database.name),
                stdout=log, stderr=log,
            )
        try:
            wait_until(self._is_ready, START_TIMEOUT_S, f"{self.name} did not become ready")
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *_error):
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Broken(f"{self.name} did not stop within {STOP_TIMEOUT_S} s") from None

    def _is_ready(self):
        if self._process.poll() is not None:
            raise Broken(f"{self.name} ended with {self._process.returncode}; see {OUTPUT / self.name}.log")
        try:
            return bool(self.get("/health/ready"))
        except (urllib.error.URLError, ConnectionError):
            return False

    @property
    def pid(self):
        return self._process.pid

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=5) as response:
            return response.read().decode()

    def metric(self, name):
        """A metric by its name and labels as they are written; 0 when it is not there yet."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0


class Platform(Service):
    """The mock data platform."""

    def __init__(self, database):
        super().__init__("data-platform", "serve", "jumun_consumer", database)

    def unique(self):
        """How many different events have arrived."""
        return json.loads(self.get("/v1/stats"))["unique"]


class Consumer(Service):
    """What forwards the events from the queue to the platform."""

    def __init__(self, database):
        super().__init__("consumer", "run", "jumun_consumer", database)


class Follower(Service):
    """The aggregator that runs again and again."""

    def __init__(self, database):
        super().__init__("aggregator", "follow", "jumun_aggregator", database)


def wait_until(condition, timeout_s, otherwise, pause_s=0.1):
    """How long it took until the condition was true, in seconds."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout_s:
            raise Broken(f"{otherwise} within {timeout_s} s")
        time.sleep(pause_s)
    return time.monotonic() - start
