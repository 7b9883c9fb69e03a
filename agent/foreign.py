"""Who else used the system's cores: their busy time, less that of everything of ours. A neighbour that nobody ordered is in every figure of
a trial, and neither the load's verdict on itself nor a dose says so.

Busy time is the kernel's by core (proc(5), /proc/stat: user, nice, system; interrupts are the network's, and so the load's). The kernel
samples it at its tick, so that a share of a few percent is noise. Ours is exact where cgroup v1 counts it by core (cpuacct.usage_percpu);
cgroup v2 has one sum for all cores, and what of ours runs elsewhere then hides as much of somebody else.
"""

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from agent.scope import Cgroups

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CoreUse:
    """CPU time so far: of all on these cores, and of what is ours."""

    at_ns: int
    busy_ns: int
    ours_ns: int


def read(cores: Collection[int], cgroups: Cgroups, lease: str, proc: Path = Path("/proc")) -> CoreUse | None:
    """None where nobody keeps what is ours, or no core is given."""
    ours_ns = _ours_ns(cores, cgroups, lease)
    if ours_ns is None or not cores:
        return None
    busy_ticks = 0
    for line in (proc / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            busy_ticks += sum(map(int, fields[:3]))
    # The agent itself may run there: where a machine has no core to spare, and in tests.
    agent_ns = time.process_time_ns() if os.sched_getaffinity(0) & set(cores) else 0
    return CoreUse(time.monotonic_ns(), busy_ticks * _TICK_NS, ours_ns + agent_ns)


def share(before: CoreUse | None, after: CoreUse | None) -> float | None:
    """What others took between two looks; 1.0 is one core."""
    if before is None or after is None or after.at_ns <= before.at_ns:
        return None
    others_ns = (after.busy_ns - before.busy_ns) - (after.ours_ns - before.ours_ns)
    return max(0.0, others_ns / (after.at_ns - before.at_ns))


def _ours_ns(cores: Collection[int], cgroups: Cgroups, lease: str) -> int | None:
    home = cgroups.homes().get("cpuacct")
    if home is None:
        return None
    folder = home / "offspec" / lease
    try:
        if cgroups.version == 1:
            by_core = (folder / "cpuacct.usage_percpu").read_text().split()
            return sum(int(by_core[core]) for core in cores if core < len(by_core))
        stat = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        return int(stat["usage_usec"]) * 1000
    except (OSError, KeyError, ValueError):
        return None
