"""`numa-remote`: memory on another socket. The system's own memory lies, from its start, on the node that is farthest from its cores.

By the process's memory policy, which its children inherit; where its pages really are is read from the kernel.
"""

from collections.abc import Mapping
from pathlib import Path

from agent import numa
from agent.numa import SYSTEM, Bound
from agent.scope import Cgroups
from agent.violations import Capability, Context
from traces.errors import PreflightFailed


class NumaRemote:
    name = "numa-remote"

    def __init__(self, root: Path = SYSTEM) -> None:
        self._root = root

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        with_memory = [node for node in numa.nodes(self._root) if node.memory_bytes]
        if len(with_memory) < 2:
            return Capability(False, reason="all memory of this node is equally near: it has one NUMA node; choose another machine")
        return Capability(True, Bound.mechanism, "exact", max_dose=1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Bound:
        if context.target is None:
            raise PreflightFailed("violation numa-remote: it prepares a system under test, and there is none here")
        core = (context.target_cores or context.all_cores)[0]
        far = numa.farthest(numa.nodes(self._root), core)
        if far is None:
            raise PreflightFailed(f"violation numa-remote: core {core} has no memory that is farther than its own")
        return Bound(context.target, far.number)


VIOLATION = NumaRemote()
