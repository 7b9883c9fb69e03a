"""`cores`: a machine with fewer cores. The system is confined, before it starts, to the first so many of the node's cores.

By affinity, which every child inherits; the runtimes that size themselves by other means are told by their variables. What the
system may really use is read back from every one of its tasks.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed


class Confined:
    mechanism = "affinity from the start"
    fidelity = "exact"

    def __init__(self, scope: Scope, cores: tuple[int, ...]) -> None:
        self._scope = scope
        self.cores = cores
        self.prelude: Sequence[Mapping[str, Any]] = ()
        self.env = {"GOMAXPROCS": str(len(cores)), "OMP_NUM_THREADS": str(len(cores))}

    def measure(self) -> Reading:
        allowed = self._scope.cores_allowed()
        return Reading(float(len(allowed)) if allowed else None, "Cpus_allowed")

    def undo(self) -> str:
        return "undone"  # it ends with the processes that were started under it


class Cores:
    name = "cores"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, "affinity from the start", "exact", max_dose=float(cores))

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Confined:
        wanted = int(dose)
        if context.target is None:
            raise PreflightFailed("violation cores: it confines a system under test, and there is none here")
        mine = context.target_cores
        # The system's own cores first; then whatever else the node has.
        rest = tuple(c for c in sorted(os.sched_getaffinity(0) | set(context.all_cores)) if c not in mine)
        if wanted > len(mine + rest):
            raise PreflightFailed(f"violation cores: {wanted} cores asked, the node has {len(mine + rest)}")
        return Confined(context.target, (mine + rest)[:wanted])


VIOLATION = Cores()
