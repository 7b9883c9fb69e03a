"""A spinner with full demand in a cgroup of its own: the quota is the ceiling, the weight decides what it gets against the system.

A duty-cycled loop would lose its dose exactly when the core is contended. What `cpu` and `smt` share.
"""

import contextlib
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from agent.launcher import LaunchFailed
from agent.paced import FIRM_WEIGHT
from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading, said_place
from traces.errors import PreflightFailed, UsageError

_PERIOD_MS = 20
_ORDINARY_WEIGHT = 1024
_NICE_STEP = 1.25
_MOST = 100.0
_STRESS_NG = "stress-ng --cpu-load"


def weight(options: Mapping[str, str]) -> int:
    """Of the spinner against the system, as v1 shares: by `weight`, by `nice` (the kernel's weights change by 1.25 a step), else firm."""
    if "weight" in options and "nice" in options:
        raise UsageError("weight and nice say the same thing in two ways; give one of them")
    if "nice" in options:
        return max(2, round(_ORDINARY_WEIGHT / math.pow(_NICE_STEP, float(options["nice"]))))
    return round(float(options.get("weight", FIRM_WEIGHT)))


def probe(cgroups: Cgroups) -> Capability:
    if cgroups.version:
        return Capability(True, f"spinner under a cgroup v{cgroups.version} quota", "exact", max_dose=_MOST)
    if shutil.which("stress-ng"):
        return Capability(True, _STRESS_NG, "proxy", "no writable cgroup: the dose sinks when contended", _MOST)
    return Capability(False, reason="no writable cpu cgroup, and stress-ng is not installed (apt install stress-ng)")


class Spinner:
    """The spinner in its scope."""

    def __init__(self, name: str, dose: float, options: Mapping[str, str], cores: Sequence[int], context: Context) -> None:
        shares = weight(options)
        self._period_us = round(float(options.get("period_ms", _PERIOD_MS)) * 1000)
        self._scope = Scope(f"{name}-neighbour", context.ledger, context.cgroups)
        self._cores = cores
        self._running = self._stopped = False
        try:
            if self._scope.limits:
                self._scope.set_weight(shares)
                self.mechanism, self.fidelity = f"spinner under a cgroup v{self._scope.version} quota {said_place(cores)}", "exact"
                self.set(dose)
            else:
                argv = ["stress-ng", "--cpu", "1", "--cpu-load", f"{dose:.0f}", "--cpu-method", "int64"]
                self._scope.spawn(argv, cores=cores)
                self.mechanism, self.fidelity, self._running = _STRESS_NG, "proxy", True
        except (LaunchFailed, OSError) as error:
            self._scope.end()
            raise PreflightFailed(f"violation {name}: {error}") from None
        self._usage_ns = self._scope.usage_ns()
        self._read_ns = time.monotonic_ns()

    def set(self, dose: float) -> None:
        """From now on; without a cgroup it cannot change. Raises OSError, LaunchFailed."""
        if not self._scope.limits:
            return
        if dose > 0:
            self._scope.set_quota(dose / 100, self._period_us)
            if not self._running:
                self._scope.spawn([sys.executable, "-m", "agent.antagonists", "cpu"], cores=self._cores)
            elif self._stopped:
                self._signal(signal.SIGCONT)
            self._running, self._stopped = True, False
        elif self._running and not self._stopped:
            self._signal(signal.SIGSTOP)  # it starts again at once, where a new process would come too late for its second
            self._stopped = True

    def _signal(self, number: int) -> None:
        for pid in self._scope.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def measure(self) -> Reading:
        now_ns, usage_ns = time.monotonic_ns(), self._scope.usage_ns()
        before_ns, before_usage = self._read_ns, self._usage_ns
        self._read_ns, self._usage_ns = now_ns, usage_ns
        if usage_ns is None or before_usage is None or (self._running and not self._scope.members()):
            return Reading(None, "cpuacct")
        given = (usage_ns - before_usage) / max(1, now_ns - before_ns) * 100
        return Reading(given, "cpuacct", given)

    def undo(self) -> str:
        return self._scope.end()
