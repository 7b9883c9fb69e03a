"""`memory-tier`: memory of a slower kind. The system's own memory lies, from its start, on a node without processors, as the kernel shows
CXL-attached and persistent memory.
"""

from collections.abc import Mapping
from pathlib import Path

from agent import numa
from agent.numa import SYSTEM, Bound
from agent.scope import Cgroups
from agent.violations import Capability, Context
from traces.errors import PreflightFailed


class MemoryTier:
    name = "memory-tier"

    def __init__(self, root: Path = SYSTEM) -> None:
        self._root = root

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if numa.slow_tier(numa.nodes(self._root)) is None:
            return Capability(False, reason="no node with memory and without processors here (CXL or persistent memory); see numa-remote")
        return Capability(True, Bound.mechanism, "exact", max_dose=1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Bound:
        if context.target is None:
            raise PreflightFailed("violation memory-tier: it prepares a system under test, and there is none here")
        slow = numa.slow_tier(numa.nodes(self._root))
        if slow is None:
            raise PreflightFailed("violation memory-tier: this node has no memory of a slower kind")
        return Bound(context.target, slow.number)


VIOLATION = MemoryTier()
