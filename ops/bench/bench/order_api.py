"""The order-api under measurement."""

import re
import subprocess
import time
import urllib.error
import urllib.request

from .database import Broken
from .processes import resident_megabytes
from .servers import API_PORT, BIN_DIR, OUTPUT, environment, forget_events, server_pids

HOST = "127.0.0.1"
PORT = API_PORT
URL = f"http://{HOST}:{PORT}"
START_TIMEOUT_S = 30
DRAIN_TIMEOUT_S = 120
STOP_TIMEOUT_S = 15


class OrderAPI:
    """A release order-api with its relay, as a context; its log is kept beside the result."""

    def __init__(self, database):
        self._database = database

    def __enter__(self):
        with open(OUTPUT / "order-api.log", "ab") as log:
            self._process = subprocess.Popen(
                [BIN_DIR / "order-api", "serve"], env=environment("jumun_api", self._database.name),
                stdout=log, stderr=log,
            )
        try:
            _wait_until(self._is_ready, START_TIMEOUT_S, "order-api did not become ready")
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
            raise Broken(f"order-api did not stop within {STOP_TIMEOUT_S} s") from None
        forget_events()

    def _is_ready(self):
        if self._process.poll() is not None:
            raise Broken(f"order-api ended with {self._process.returncode}; see {OUTPUT / 'order-api.log'}")
        try:
            return bool(self.get("/health/ready"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def pids(self):
        """Every process that works on an order."""
        return {"order-api": self._process.pid} | server_pids()

    def get(self, path):
        with urllib.request.urlopen(URL + path, timeout=5) as response:
            return response.read().decode()

    def order_statuses(self):
        """The HTTP statuses with which orders have been answered."""
        metrics = self.get("/metrics")
        answered = re.findall(r"^http_request_duration_seconds_count\{(.*)\} [1-9]", metrics, re.MULTILINE)
        labels = [dict(re.findall(r'(\w+)="(.*?)"', text)) for text in answered]
        return {label["status"] for label in labels if label["method"] == "POST" and label["route"] == "/v1/orders"}

    def resident_megabytes(self):
        return resident_megabytes(self._process.pid)

    def wait_for_relay(self, events):
        """Until that many events have been published since the start; how long that took, in seconds."""
        start = time.monotonic()
        _wait_until(lambda: self._published_events() >= events, DRAIN_TIMEOUT_S, "events are still unpublished")
        return time.monotonic() - start

    def _published_events(self):
        metrics = self.get("/metrics")
        acked = re.search(r'^orders_outbox_published_total\{result="acked"\} (\S+)$', metrics, re.MULTILINE)
        return float(acked[1]) if acked else 0


def _wait_until(condition, timeout_s, otherwise):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise Broken(f"{otherwise} within {timeout_s} s")
        time.sleep(0.1)
