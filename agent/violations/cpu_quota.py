"""`cpu-quota`: a smaller machine. The system as a whole gets at most so many percent of one CPU (200: two CPUs).

A bandwidth limit on the system's own cgroup (CFS bandwidth control). The dose given is the limit in force, read back from the
kernel; the system may use less. Beside it stands how long the limit held the system, second by second.
"""

from collections.abc import Mapping

from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_PERIOD_MS = 100


class Quota:
    fidelity = "exact"

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.mechanism = f"cgroup v{scope.version} bandwidth limit"
        self._seen = scope.throttled()

    def measure(self) -> Reading:
        quota = self._scope.quota()
        before, self._seen = self._seen, self._scope.throttled()
        held_ms = held_periods = None
        if before is not None and self._seen is not None:
            held_ns, held, periods = (now - then for now, then in zip(self._seen, before, strict=True))
            held_ms, held_periods = held_ns / 1e6, held / periods if periods else 0.0
        return Reading(
            None if quota is None else quota * 100,
            "cpu.max" if self._scope.version == 2 else "cpu.cfs_quota_us",
            throttled_ms=held_ms,
            throttled_periods=held_periods,
        )

    def undo(self) -> str:
        self._scope.clear_quota()
        return "undone"


class CpuQuota:
    name = "cpu-quota"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if cgroups.version:
            return Capability(True, f"cgroup v{cgroups.version} bandwidth limit", "exact", max_dose=cores * 100.0)
        return Capability(False, reason="no writable cpu cgroup; run the agent as root or delegate one to it")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Quota:
        if context.target is None or not context.target.limits:
            raise PreflightFailed("violation cpu-quota: it limits a system under test, and there is none in a cgroup here")
        context.target.set_quota(dose / 100, round(float(options.get("period_ms", _PERIOD_MS)) * 1000))
        return Quota(context.target)


VIOLATION = CpuQuota()
