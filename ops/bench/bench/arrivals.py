"""Orders that do not wait for each other: at a constant rate, and all in one instant."""

import selectors
import socket
import time

from . import generators
from .database import PRODUCTS, USERS, Broken, Database
from .figures import Figure
from .order_api import HOST, PORT, URL, OrderAPI
from .orders import WARM_UP_S

RATE_PER_SECOND = 1_000
BUYERS = 500
BURSTS_IN_ROUND = 5
BURST_TIMEOUT_S = 30


def open_loop(options):
    """k6 sends 1,000 orders/s for six times the length of another load: 60 s."""
    database = Database("jumun")
    seconds = 6 * options.seconds
    p50, p99, worst, failed, not_begun = [], [], [], [], []
    for _ in range(options.rounds):
        database.open_shop()
        with OrderAPI(database):
            warm_up = generators.place_orders(WARM_UP_S)
            metrics = generators.k6(
                "open_loop", url=URL, users=USERS, products=PRODUCTS, rate=RATE_PER_SECOND, seconds=seconds
            )
        requests, refused = metrics["http_reqs"]["count"], metrics["http_req_failed"]["passes"]
        # Requests that were due but could not even begin.
        dropped = metrics.get("dropped_iterations", {"count": 0})["count"]
        placed = warm_up.accepted + requests - refused
        database.check(placed, placed + generators.CONNECTIONS + refused)
        p50.append(metrics["http_req_duration"]["med"])
        p99.append(metrics["http_req_duration"]["p(99)"])
        worst.append(metrics["http_req_duration"]["max"])
        failed.append(refused + dropped)
        not_begun.append(dropped)
    title = f"open loop, {RATE_PER_SECOND:,} orders/s for {seconds} s"
    return [
        Figure(f"{title}: p99", p99, "ms", at_most=25),
        Figure(f"{title}: failed", failed, at_most=0),
        Figure(f"{title}: of these never begun by k6", not_begun),
        Figure(f"{title}: p50", p50, "ms"),
        Figure(f"{title}: slowest", worst, "ms"),
    ]


def burst(options):
    """500 buyers order the same product in the same instant: the time until the last of them has an answer."""
    database = Database("jumun")
    database.open_shop()
    fresh, connected = [], []
    with OrderAPI(database):
        placed = generators.place_orders(WARM_UP_S).accepted
        for _ in range(options.rounds * BURSTS_IN_ROUND):
            fresh.append(1000 * _burst(connect_before=False))
            connected.append(1000 * _burst(connect_before=True))
    placed += BUYERS * len(fresh + connected)
    database.check(placed, placed + generators.CONNECTIONS)
    return [
        Figure(f"burst of {BUYERS} buyers, connecting included: last answer", fresh, "ms", at_most=250),
        Figure(f"burst of {BUYERS} buyers, already connected: last answer", connected, "ms"),
    ]


def _burst(connect_before):
    """Seconds from the first byte or connection until the last answer."""
    requests = [_order_of(buyer) for buyer in range(1, BUYERS + 1)]
    sockets = [socket.socket() for _ in requests]
    try:
        if connect_before:
            for buyer in sockets:
                buyer.connect((HOST, PORT))
        for buyer in sockets:
            buyer.setblocking(False)
        return _send_at_once(sockets, requests, connect_before)
    finally:
        for buyer in sockets:
            buyer.close()


def _send_at_once(sockets, requests, are_connected):
    start = time.monotonic()
    answers = {}
    with selectors.EpollSelector() as selector:
        for buyer, request in zip(sockets, requests, strict=True):
            if are_connected:
                buyer.send(request)
                selector.register(buyer, selectors.EVENT_READ)
            else:
                buyer.connect_ex((HOST, PORT))
                selector.register(buyer, selectors.EVENT_WRITE, request)
        while len(answers) < BUYERS:
            events = selector.select(start + BURST_TIMEOUT_S - time.monotonic())
            if not events:
                raise Broken(f"{BUYERS - len(answers)} buyers of a burst had no answer after {BURST_TIMEOUT_S} s")
            for key, _ in events:
                if key.data:
                    key.fileobj.send(key.data)
                    selector.modify(key.fileobj, selectors.EVENT_READ)
                else:
                    answers[key.fd] = key.fileobj.recv(65_536)
                    selector.unregister(key.fileobj)
    elapsed = time.monotonic() - start
    refused = [answer for answer in answers.values() if not answer.startswith(b"HTTP/1.1 201 ")]
    if refused:
        raise Broken(f"{len(refused)} buyers of a burst were refused, the first with {refused[0]!r}")
    return elapsed


def _order_of(buyer):
    body = f'{{"userId":{buyer},"items":[{{"productId":1,"quantity":1}}]}}'
    return (
        f"POST /v1/orders HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
