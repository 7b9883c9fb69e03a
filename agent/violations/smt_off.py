"""`smt-off`: a machine without simultaneous multithreading, by the kernel's own switch (cpu/smt/control), put back afterwards.

It takes the second thread of every core of the machine offline, whoever runs there. Load and target must be on first threads. Where the
switch is not to be had, the other threads of the system's cores are left idle by us: no load generator runs there. Others may use them, so
the dose given is the share of each second in which they were idle, by the kernel's count of ticks. A proxy: a core whose second thread is
idle still keeps parts of itself for it on some processors.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from agent import cpu_settings, topology
from agent.cpu_settings import SYSTEM, Settings
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "cpu/smt/control"
_IDLE = "second threads of the system's cores left idle"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4)
"""idle and iowait of a line of /proc/stat (proc_stat(5))."""


class Single:
    mechanism = _MECHANISM
    fidelity = "exact"

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings = settings
        self._root = root

    def measure(self) -> Reading:
        active = cpu_settings.read(self._root / "cpu/smt/active")
        return Reading(float(self._settings.held() and active == "0"), "smt/control, smt/active")

    def undo(self) -> str:
        return self._settings.undo()


class Idle:
    """Nothing is changed: what is measured is whether anybody runs there."""

    mechanism = _IDLE
    fidelity = "proxy"

    def __init__(self, threads: tuple[int, ...], proc: Path) -> None:
        self.threads = threads
        self._stat = proc / "stat"
        self._seen = (time.monotonic(), self._busy_ticks())

    def _busy_ticks(self) -> int:
        found = 0
        for line in self._stat.read_text().splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in self.threads:
                found += sum(int(ticks) for at, ticks in enumerate(fields[:8]) if at not in _IDLE_FIELDS)
        return found

    def measure(self) -> Reading:
        (then, before), self._seen = self._seen, (time.monotonic(), self._busy_ticks())
        now, busy = self._seen
        used = (busy - before) / _TICKS_PER_S / max(1 / _TICKS_PER_S, now - then) / len(self.threads)
        threads = f"thread{'s' * (len(self.threads) > 1)} {', '.join(map(str, self.threads))}"
        said = f"{threads} left idle by us; others may use them: measured {min(1.0, used):.0%} of the last second"
        return Reading(max(0.0, 1 - used), "/proc/stat", remark=said)

    def undo(self) -> str:
        return "undone"  # there is nothing to take back


class SmtOff:
    name = "smt-off"

    def __init__(self, root: Path = SYSTEM, proc: Path = Path("/proc")) -> None:
        self._root = root
        self._proc = proc

    def _switchable(self) -> bool:
        path = self._root / _MECHANISM
        return cpu_settings.read(path) == "on" and cpu_settings.writable(path)

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        path = self._root / _MECHANISM
        if self._switchable():
            return Capability(True, _MECHANISM, "exact", max_dose=1.0)
        if all(len(cpu.siblings) < 2 for cpu in topology.read(self._root).cpus):
            return Capability(False, reason=f"{path} says {cpu_settings.read(path) or 'nothing'}, and no core has a second thread here")
        return Capability(True, _IDLE, "proxy", f"{path} is not to be written here: others may use the threads that we leave idle", 1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Single | Idle:
        path = self._root / _MECHANISM
        if self._switchable():
            return Single(Settings(self.name, {path: "off"}, context.ledger), self._root)
        cores = context.target_cores or context.all_cores[:1]
        seen = topology.read(self._root)
        beside = {core: set(seen.cpu(core).siblings) - {core} for core in cores}
        if any(not others for others in beside.values()):
            alone = next(core for core, others in beside.items() if not others)
            raise PreflightFailed(f"violation smt-off: core {alone} has no second thread, so there is nothing to leave idle")
        threads = {thread for others in beside.values() for thread in others}
        for who, key, taken in (
            ("the system", "nodes.target.cores", cores),
            ("the load generator", "nodes.load.cores", context.busy_cores),
        ):
            if shared := sorted(threads & set(taken)):
                raise PreflightFailed(f"violation smt-off: {who} is on thread {shared[0]}, which is to be idle; give {key} other cores")
        return Idle(tuple(sorted(threads)), self._proc)


VIOLATION = SmtOff()
