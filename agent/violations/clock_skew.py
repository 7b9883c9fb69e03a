"""`clock-skew`: the system's monotonic and boot clocks run ahead by the dose (behind, if negative), in a time namespace of its own.

The wall clock is the machine's and is not shifted: time_namespaces(7) has no offset for it. Timers that compare the two, and peers that
exchange monotonic stamps, are what this breaks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.launcher import LaunchFailed, spawn
from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "time namespace"


class Shifted:
    mechanism = _MECHANISM
    fidelity = "exact"
    env: Mapping[str, str] = {}

    def __init__(self, scope: Scope, offset_s: int) -> None:
        self._scope = scope
        self.prelude: Sequence[Mapping[str, Any]] = ({"step": "shift-clocks", "offset_s": offset_s},)

    def measure(self) -> Reading:
        ours = Path("/proc/self/ns/time").readlink()
        offsets = {_offset_s(pid, ours) for pid in self._scope.members()} - {None}
        return Reading(offsets.pop() if len(offsets) == 1 else None, "timens_offsets")

    def undo(self) -> str:
        return "undone"  # the namespace ends with its last process


def _offset_s(pid: int, ours: Path) -> float | None:
    """Of a process's monotonic clock against ours; None for one that has ended."""
    try:
        if Path(f"/proc/{pid}/ns/time").readlink() == ours:
            return 0.0
        for line in Path(f"/proc/{pid}/timens_offsets").read_text().splitlines():
            name, seconds, nanoseconds = line.split()
            if name == "monotonic":
                return int(seconds) + int(nanoseconds) / 1e9
    except OSError:
        return None
    return None


class ClockSkew:
    name = "clock-skew"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        try:
            shifted = spawn(["true"], env={}, prelude=({"step": "shift-clocks", "offset_s": 1},)).process.wait(10)
        except LaunchFailed as error:
            return Capability(False, reason=f"{error}; it needs Linux 5.6 with CONFIG_TIME_NS, and CAP_SYS_ADMIN")
        return Capability(shifted == 0, _MECHANISM, "exact", "" if shifted == 0 else "a program in a time namespace did not run")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Shifted:
        if context.target is None:
            raise PreflightFailed("violation clock-skew: it prepares a system under test, and there is none here")
        return Shifted(context.target, int(dose))


VIOLATION = ClockSkew()
