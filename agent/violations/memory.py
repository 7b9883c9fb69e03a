"""`memory`: a smaller machine. The system as a whole, its page cache included, gets at most so many MiB, and no swap beside them.

A limit on the system's own cgroup, set before it starts and read back from the kernel. A system that needs more is killed by the kernel:
that is an outcome of the trial, not an error of ours.
"""

from collections.abc import Mapping

from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MIB = 1 << 20


class Limited:
    fidelity = "exact"

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.mechanism = f"cgroup v{scope.version} memory limit"

    def measure(self) -> Reading:
        limit = self._scope.memory_limit_bytes()
        return Reading(None if limit is None else limit / _MIB, "memory.max" if self._scope.version == 2 else "memory.limit_in_bytes")

    def undo(self) -> str:
        self._scope.set_memory_limit(None)
        return "undone"


class Memory:
    name = "memory"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if "memory" in cgroups.homes():
            return Capability(True, f"cgroup v{cgroups.version} memory limit", "exact")
        return Capability(False, reason="no writable memory cgroup; run the agent as root or delegate the memory controller to it")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Limited:
        if context.target is None or not context.target.limits_memory:
            raise PreflightFailed("violation memory: it limits a system under test, and there is none in a memory cgroup here")
        try:
            context.target.set_memory_limit(round(dose * _MIB))
        except OSError as error:
            raise PreflightFailed(f"violation memory: {dose:g} MiB: {error.strerror}; give more") from None
        return Limited(context.target)


VIOLATION = Memory()
