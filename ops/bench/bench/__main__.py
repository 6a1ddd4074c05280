"""Runs the chosen sections and prints one table of what was measured."""

import argparse
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime

from . import answers, arrivals, delivery, growth, orders, past, statistics
from .database import Broken, Database
from .figures import figure_rows, print_table
from .processes import CORES
from .servers import OUTPUT, ROOT

# Above this share of the machine for others, figures are of no use to anybody else.
QUIET_PERCENT = 5

SECTIONS = {
    "throughput": orders.throughput,
    "hot": orders.hot,
    "refusals": answers.refusals,
    "popular": answers.popular,
    "burst": arrivals.burst,
    "openloop": arrivals.open_loop,
    "relay": delivery.relay,
    "consumer": delivery.consumer,
    "delay": delivery.delay,
    "pipeline": delivery.pipeline,
    "statistics": statistics.statistics,
    "import": past.past,
    "large": growth.large,
    "memory": growth.memory,
}


def read_options():
    parser = argparse.ArgumentParser(
        prog="ops/bench/run",
        description="Measures Jumun on servers of its own and prints targets and figures side by side.",
        epilog="Sections: " + "; ".join(f"{name}: {run.__doc__.splitlines()[0]}" for name, run in SECTIONS.items()),
    )
    parser.add_argument("--only", metavar="SECTION,…", help="these sections (default: all)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of each comparison (default: 3)")
    parser.add_argument("--seconds", type=int, default=10, metavar="N", help="length of a load (default: 10)")
    parser.add_argument("--old-orders", type=int, default=5_000_000, metavar="N",
                        help="orders that are there before `large` begins (default: 5,000,000)")
    parser.add_argument("--memory-orders", type=int, default=1_000_000, metavar="N",
                        help="orders after which `memory` looks (default: 1,000,000)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X",
                        help="makes the ledgers of `statistics` and the file of `import` so much larger (default: 1)")
    options = parser.parse_args()
    options.sections = options.only.split(",") if options.only else list(SECTIONS)
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return options


def describe_machine():
    """What the figures were measured on."""
    commit = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True, check=False
    ).stdout.strip()
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit, "cores": CORES, "processor": model,
        "kernel": platform.release(), "postgres": Database("jumun").durability(),
    }


def main():
    options = read_options()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    for name, value in machine.items():
        print(f"{name}: {value}")
    figures, broken = {}, {}
    for name in options.sections:
        print(f"\n{name}: {SECTIONS[name].__doc__}", flush=True)
        try:
            figures[name] = SECTIONS[name](options)
        except Broken as why:
            broken[name] = str(why)
            print(f"  no figure: {why}", flush=True)
    report(options, machine, figures, broken)
    all_figures = [figure for section in figures.values() for figure in section]
    sys.exit(1 if broken or any(figure.is_met is False for figure in all_figures) else 0)


def report(options, machine, figures, broken):
    """The table, figures with a target first, and the same with every sample in result.json."""
    print()
    rows = figure_rows([figure for section in figures.values() for figure in section])
    rows.sort(key=lambda row: row[1] == "")
    rows += [[f"{name}: broken", "", "no figure", "", "NO"] for name in broken]
    print_table(["measure", "target", "median", "range", "met"], rows)
    result = {
        "machine": machine, "rounds": options.rounds, "seconds": options.seconds, "scale": options.scale,
        "broken": broken,
        "sections": {name: [figure.as_json() for figure in section] for name, section in figures.items()},
    }
    path = OUTPUT / "result.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"\nEvery sample: {path}")
    others = [sample for section in figures.values() for figure in section if figure.unit == orders.OTHERS_UNIT
              for sample in figure.samples]
    if others and max(others) > QUIET_PERCENT:
        print(f"The machine was not quiet: others used up to {max(others):.0f} % of it. Do not publish these figures.")


main()
