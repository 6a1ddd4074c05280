"""Processes that die without a word."""

import random
import subprocess
import time

from . import load
from .system import ROOT, UNDELIVERED, require

VICTIMS = ("order-api", "consumer", "rabbitmq", "postgres")


def killed(system, options):
    """kill -9 at random of order-api (with its relay), consumer, RabbitMQ and PostgreSQL, for 10 minutes"""
    chance = random.Random(options.seed)
    seconds = int(600 * options.scale)
    kills = dict.fromkeys(VICTIMS, 0)
    with load.orders(system, options.rate or 100, seconds) as result:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline - 20:
            time.sleep(chance.uniform(2, 8))
            victim = chance.choice(VICTIMS)
            system.control("kill", victim)
            kills[victim] += 1
    drained = system.wait_until_delivered(120)
    events = system.require_exactly_once()
    repeats = system.platform()["duplicates"]
    by_victim = ", ".join(f"{count} {name}" for name, count in kills.items())
    return (f"{sum(kills.values())} kills in {seconds} s ({by_victim}); {result.sent} orders sent, {result.failed} not "
            f"answered with 201; {events} events committed = known to the platform, {repeats} sent twice; all there "
            f"{drained:.0f} s after the load")


def memory_alarm(system, options):
    """RabbitMQ's memory alarm blocks the publishers for a while"""
    seconds = max(30, int(120 * options.scale))
    with load.orders(system, options.rate or 200, seconds) as result:
        time.sleep(5)
        _set_watermark("absolute", "10MB")
        time.sleep(seconds / 2)
        waiting = int(system.query(UNDELIVERED))
        _set_watermark("0.2")
    drained = system.wait_until_delivered(60)
    events = system.require_exactly_once()
    require(waiting > seconds, f"only {waiting} events waited: the alarm has not blocked anybody")
    return (f"{waiting} events waited in the outbox while {result.sent} orders were taken, {result.failed} failed, "
            f"p99 {result.p99_ms:.0f} ms; all {events} at the platform {drained:.0f} s after the load")


def _set_watermark(*value):
    command = [ROOT / "ops/dev/rabbitmqctl", "-q", "set_vm_memory_high_watermark", *value]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
