"""The order-api under measurement."""

import re

from .processes import resident_megabytes
from .servers import HOST, PORTS, forget_events, server_pids
from .services import Service, wait_until

PORT = PORTS["order-api"]
URL = f"http://{HOST}:{PORT}"
DRAIN_TIMEOUT_S = 120


class OrderAPI(Service):
    """A release order-api with its relay; what it has published is removed from the queue when it stops."""

    def __init__(self, database):
        super().__init__("order-api", "serve", "jumun_api", database)

    def __exit__(self, *error):
        super().__exit__(*error)
        forget_events()

    def pids(self):
        """Every process that works on an order."""
        return {"order-api": self.pid} | server_pids()

    def order_statuses(self):
        """The HTTP statuses with which orders have been answered."""
        metrics = self.get("/metrics")
        answered = re.findall(r"^http_request_duration_seconds_count\{(.*)\} [1-9]", metrics, re.MULTILINE)
        labels = [dict(re.findall(r'(\w+)="(.*?)"', text)) for text in answered]
        return {label["status"] for label in labels if label["method"] == "POST" and label["route"] == "/v1/orders"}

    def resident_megabytes(self):
        return resident_megabytes(self.pid)

    def wait_for_relay(self, events):
        """Until that many events have been published since the start; how long that took, in seconds."""
        return wait_until(lambda: self.published() >= events, DRAIN_TIMEOUT_S, "events are still unpublished")

    def published(self):
        return self.metric('orders_outbox_published_total{result="acked"}')
