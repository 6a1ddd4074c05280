"""Runs the chosen scenarios one after the other and prints one table of what came of them."""

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime

from . import broker, database, delivery, load, processes
from .system import OUTPUT, Failed, System

SCENARIOS = {
    "slow-writer": database.slow_writer,
    "held-snapshot": database.held_snapshot,
    "killed": processes.killed,
    "binding-deleted": delivery.binding_deleted,
    "platform-down": delivery.platform_down,
    "platform-hangs": delivery.platform_hangs,
    "platform-slow": delivery.platform_slow,
    "platform-flaky": delivery.platform_flaky,
    "rejected": delivery.rejected,
    "retry-tiers": broker.retry_tiers,
    "redrive": delivery.redrive,
    "order-of-events": broker.order_of_events,
    "memory-alarm": processes.memory_alarm,
}


def read_options():
    parser = argparse.ArgumentParser(
        prog="ops/chaos/run",
        description="Breaks a whole system on purpose, under load, and proves that no event is lost, no order wrong.",
        epilog="Scenarios: " + "; ".join(f"{name}: {run.__doc__}" for name, run in SCENARIOS.items()),
    )
    parser.add_argument("--only", metavar="SCENARIO,…", help="these scenarios (default: all, about 50 minutes)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X",
                        help="part of each scenario's length (default: 1)")
    parser.add_argument("--rate", type=int, metavar="N", help="orders a second (default: each scenario's own)")
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="N",
                        help="of what is random (default: the time)")
    options = parser.parse_args()
    options.scenarios = options.only.split(",") if options.only else list(SCENARIOS)
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return options


def main():
    options = read_options()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    print(f"seed: {options.seed}")
    system = System()
    system.open_shop(load.USERS + 1, load.PRODUCTS)
    results = {}
    for name in options.scenarios:
        print(f"\n{name}: {SCENARIOS[name].__doc__}", flush=True)
        start = time.monotonic()
        try:
            results[name] = {"held": True, "result": SCENARIOS[name](system, options)}
        except (Failed, OSError, subprocess.SubprocessError) as why:
            results[name] = {"held": False, "result": str(why) or repr(why)}
            system.set_faults()
        results[name]["seconds"] = round(time.monotonic() - start)
        print(f"  {'held' if results[name]['held'] else 'FAILED'}: {results[name]['result']}", flush=True)
    report = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "seed": options.seed, "scale": options.scale,
              "scenarios": results}
    (OUTPUT / "result.json").write_text(json.dumps(report, indent=2) + "\n")
    failed = [name for name, result in results.items() if not result["held"]]
    print(f"\n{len(results) - len(failed)} of {len(results)} held{'; failed: ' if failed else ''}{', '.join(failed)}")
    sys.exit(1 if failed else 0)


main()
