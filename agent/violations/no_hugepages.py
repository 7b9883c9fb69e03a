"""`no-hugepages`: memory in 4 KiB pages only. The system starts with transparent huge pages switched off for itself and its children
(PR_SET_THP_DISABLE); the host's own setting is left alone. Pages of hugetlbfs, which a program asks for by name, are not concerned.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "PR_SET_THP_DISABLE"
_HOST = Path("/sys/kernel/mm/transparent_hugepage/enabled")


class SmallPages:
    mechanism = _MECHANISM
    fidelity = "exact"
    env: Mapping[str, str] = {}
    prelude: Sequence[Mapping[str, Any]] = ({"step": "no-huge-pages"},)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def measure(self) -> Reading:
        told = [_off(pid) for pid in self._scope.members()]
        return Reading(float(all(told)) if told else None, "THP_enabled")

    def undo(self) -> str:
        return "undone"  # it ends with the processes that were started under it


def _off(pid: int) -> bool:
    try:
        return "\nTHP_enabled:\t0\n" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True  # ended meanwhile


class NoHugePages:
    name = "no-hugepages"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        try:
            host = _HOST.read_text()
        except OSError:
            return Capability(False, reason="this kernel has no transparent huge pages, so there is nothing to take away")
        if "[never]" in host:
            return Capability(False, reason="transparent huge pages are off on this node already, so there is nothing to take away")
        return Capability(True, _MECHANISM, "exact", max_dose=1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> SmallPages:
        if context.target is None:
            raise PreflightFailed("violation no-hugepages: it prepares a system under test, and there is none here")
        return SmallPages(context.target)


VIOLATION = NoHugePages()
