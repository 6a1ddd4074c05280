"""What the broker does with messages, seen by a client of its own."""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import pika

from . import load
from .system import ALL_EVENTS, EVENTS_EXCHANGE, FORWARD_QUEUE, OUTPUT, RETRY_EXCHANGE, require, wait_until

TIERS_S = (1, 2, 4, 8, 16, 32, 60, 120, 300)
RELAYS = 4
CHECK_QUEUE = "chaos.order"


def retry_tiers(system, options):
    """a message in each retry tier at the same time"""
    tiers = [tier for tier in TIERS_S if tier <= 300 * options.scale]
    system.control("stop", "consumer")
    try:
        with pika.BlockingConnection(pika.URLParameters(system["AMQP_URL"])) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            start = time.monotonic()
            for tier in reversed(tiers):
                channel.basic_publish(RETRY_EXCHANGE, str(tier * 1_000), b"{}", pika.BasicProperties(
                    delivery_mode=2, message_id=str(tier)), mandatory=True)
            waited = {}
            for method, properties, _ in channel.consume(FORWARD_QUEUE, inactivity_timeout=tiers[-1] + 30):
                require(method is not None, f"only the tiers {sorted(waited)} came back")
                channel.basic_ack(method.delivery_tag)
                waited[int(properties.message_id)] = time.monotonic() - start
                if len(waited) == len(tiers):
                    break
    finally:
        system.control("start", "consumer")
    for tier, seconds in waited.items():
        require(0.9 * tier <= seconds <= 1.1 * tier + 0.25, f"the tier of {tier} s took {seconds:.2f} s")
    return "waited: " + ", ".join(f"{tier} s: {waited[tier]:.2f}" for tier in tiers)


def order_of_events(system, options):
    """the events of each order in sequence at a queue, with four relays of which one is killed"""
    seconds = max(20, int(40 * options.scale))
    relays = [_start_relay(system, number) for number in range(1, RELAYS)]
    with pika.BlockingConnection(pika.URLParameters(system["AMQP_URL"])) as connection:
        channel = connection.channel()
        channel.queue_declare(CHECK_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(CHECK_QUEUE, EVENTS_EXCHANGE, ALL_EVENTS)
        try:
            with load.orders(system, options.rate or 100, seconds):
                _change_orders(system, seconds, kill=relays[0])
            system.wait_until_delivered(60)
            seen, repeats = _read_all(channel)
        finally:
            channel.queue_delete(CHECK_QUEUE)
            for relay in relays:
                relay.kill()
                relay.wait()
    for order, sequences in seen.items():
        require(sequences == sorted(sequences), f"events of order {order} came as {sequences}")
    longest = max(len(sequences) for sequences in seen.values())
    require(longest > 1, "no order had more than one event")
    system.require_exactly_once()
    several = sum(len(sequences) > 1 for sequences in seen.values())
    return (f"{len(seen)} orders, {several} with several events, all in sequence; {repeats} repeats; one of {RELAYS} "
            f"relays killed")


def _start_relay(system, number):
    port = int(system["API_PORT"]) + 20 + number
    secrets = (Path(os.environ["JUMUN_RUN_DIR"]) / "secrets").read_text()
    password = re.search(r"^API_PASSWORD=(\S+)$", secrets, re.MULTILINE)[1]
    address = system["DATABASE_URL"].split("@", 1)[1]
    environment = os.environ | system.environment | {
        "API_PORT": str(port), "DATABASE_URL": f"postgres://jumun_api:{password}@{address}"
    }
    with open(OUTPUT / f"relay-{number}.log", "ab") as log:
        process = subprocess.Popen(
            [Path(system["BIN_DIR"]) / "order-api", "serve"], env=environment, stdout=log, stderr=log
        )
    wait_until(lambda: _is_ready(port), 30, f"relay {number} is not ready")
    return process


def _is_ready(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2).status == 200
    except OSError:
        return False


def _change_orders(system, seconds, kill):
    """Takes the newest paid orders through their life, and kills a relay half-way."""
    deadline = time.monotonic() + seconds - 3
    half = time.monotonic() + seconds / 2
    while time.monotonic() < deadline:
        if kill.poll() is None and time.monotonic() > half:
            kill.kill()
        ids = system.query("SELECT id FROM orders WHERE status = 'PAID' ORDER BY id DESC LIMIT 20").splitlines()
        for order in ids:
            for status in ("PREPARING", "SHIPPED", "DELIVERED"):
                system.send("API", f"/v1/orders/{order}/transitions", {"to": status})


def _read_all(channel):
    """The sequence numbers of each order as they came first, and how many came again."""
    seen, repeats = defaultdict(list), 0
    for method, _, body in channel.consume(CHECK_QUEUE, auto_ack=True, inactivity_timeout=2):
        if method is None:
            break
        event = json.loads(body)
        order, sequence = event["subject"], int(event["sequence"])
        if sequence in seen[order]:
            repeats += 1
        else:
            seen[order].append(sequence)
    return seen, repeats
