"""What processes cost, from /proc."""

import os
import resource
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count()


@dataclass
class CPU:
    """Processor time in seconds, since the start of each process or of the machine."""

    at: float
    by_process: dict
    generators: float
    machine: float

    def since(self, earlier):
        """Seconds of each of our processes since then."""
        return {name: self.by_process[name] - before for name, before in earlier.by_process.items()}

    def others_percent(self, earlier):
        """The share of the machine that went to processes which are not of this run, and to other machines."""
        ours = sum(self.since(earlier).values()) + self.generators - earlier.generators
        available = (self.at - earlier.at) * CORES
        return max(0.0, 100 * (self.machine - earlier.machine - ours) / available)


def measure_cpu(pids):
    """Now, for these processes (name: id) with all that descends from them, alive or not."""
    spent, children = {}, defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended, and its parent has its time
        pid = int(stat.parent.name)
        children[int(fields[1])].append(pid)
        # Its own time and that of its ended children.
        spent[pid] = sum(map(int, fields[11:15])) / TICKS_PER_SECOND

    def tree(pid):
        return spent.get(pid, 0) + sum(tree(child) for child in children[pid])

    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return CPU(
        at=monotonic(),
        by_process={name: tree(pid) for name, pid in pids.items()},
        generators=sum(usage.ru_utime + usage.ru_stime for usage in usages),
        machine=_machine_seconds(),
    )


def _machine_seconds():
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def resident_megabytes(pid):
    """The memory of a process that is in RAM."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kilobytes) * 1024 / 1e6
