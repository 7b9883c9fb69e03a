"""`cpu`: a neighbour on the system's core. The dose is a share of one CPU in percent.

A spinner with full demand in a cgroup of its own: the quota is the ceiling, the weight decides what it gets against the system.
By default it weighs so much that it gets its dose whatever the system does; `weight: 1024` makes it an ordinary neighbour, which
gets its fair share and no more. A duty-cycled loop would lose its dose exactly when the core is contended.
"""

import shutil
import sys
import time
from collections.abc import Mapping

from agent.launcher import LaunchFailed
from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading, place
from traces.errors import PreflightFailed

_FIRM_WEIGHT = 65_536
_PERIOD_MS = 20
_MOST_BY_PROXY = 100.0


class Neighbour:
    """The spinner in its scope."""

    def __init__(self, scope: Scope, mechanism: str, fidelity: str) -> None:
        self._scope = scope
        self.mechanism = mechanism
        self.fidelity = fidelity
        self._usage_ns = scope.usage_ns()
        self._read_ns = time.monotonic_ns()

    def measure(self) -> Reading:
        now_ns, usage_ns = time.monotonic_ns(), self._scope.usage_ns()
        before_ns, before_usage = self._read_ns, self._usage_ns
        self._read_ns, self._usage_ns = now_ns, usage_ns
        if usage_ns is None or before_usage is None or not self._scope.members():
            return Reading(None, "cpuacct")
        return Reading((usage_ns - before_usage) / max(1, now_ns - before_ns) * 100, "cpuacct")

    def undo(self) -> str:
        return self._scope.end()


class Cpu:
    name = "cpu"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if cgroups.version:
            return Capability(True, f"spinner under a cgroup v{cgroups.version} quota", "exact", max_dose=100.0)
        if shutil.which("stress-ng"):
            return Capability(
                True,
                "stress-ng --cpu-load",
                "proxy",
                "no writable cgroup: the dose sinks when contended",
                100.0,
            )
        return Capability(False, reason="no writable cpu cgroup, and stress-ng is not installed (apt install stress-ng)")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Neighbour:
        core = place(options, context, "same-core")
        scope = Scope("cpu-neighbour", context.ledger, context.cgroups)
        cores = [] if core is None else [core]
        try:
            if scope.limits:
                scope.set_quota(dose / 100, round(float(options.get("period_ms", _PERIOD_MS)) * 1000))
                scope.set_weight(round(float(options.get("weight", _FIRM_WEIGHT))))
                if dose > 0:
                    scope.spawn([sys.executable, "-m", "agent.antagonists", "cpu"], cores=cores)
                return Neighbour(scope, f"spinner under a cgroup v{scope.version} quota", "exact")
            scope.spawn(["stress-ng", "--cpu", "1", "--cpu-load", f"{dose:.0f}", "--cpu-method", "int64"], cores=cores)
            return Neighbour(scope, "stress-ng --cpu-load", "proxy")
        except (LaunchFailed, OSError) as error:
            scope.end()
            raise PreflightFailed(f"violation cpu: {error}") from None


VIOLATION = Cpu()
