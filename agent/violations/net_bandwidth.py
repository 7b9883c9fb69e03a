"""`net-bandwidth`: the link between load and system is narrower, in Mbit/s (1e6 bits a second) each way, over all connections.

On a link of its own (agent/hop.py) a token bucket (tc-tbf(8)) lets so many bits of frames pass, headers included, as the name of a real
link has it: of full packets 95.6 percent are payload, of small ones less. Elsewhere the relay lets so many bits of payload pass, and takes
in no faster than it lets go. Either way senders feel it by TCP's own means, and datagrams beyond 50 ms of queue are dropped.
Whether the limit is met can be seen only while there is more to pass than it lets through: otherwise the limit in force is read back.
"""

from collections.abc import Mapping

from agent import kernel_path
from agent.detour import LINK, MECHANISM, Detour, standing
from agent.over_time import OverTime
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading

_MBIT_BYTES = 125_000.0
_WIDEST = 34_000.0
"""What a kernel's answer still tells in 32 bits of bytes a second: a limit that cannot be read back is none."""
_MET = 0.9
"""A way that passes this much of its limit is one that the limit holds."""


def _reading(limit: float, passed: float, counted_by: str, cost: float | None) -> Reading:
    met = passed >= _MET * limit
    return Reading((passed if met else limit) / _MBIT_BYTES, counted_by if met else "limit in force", cost)


class Narrow:
    """By the relay."""

    mechanism = MECHANISM
    fidelity = "proxy"

    def __init__(self, detour: Detour, dose_mbit: float) -> None:
        self._detour = detour
        self.port = detour.port
        self.set(dose_mbit)

    def set(self, dose: float) -> None:
        self._detour.hold(bytes_per_s=dose * _MBIT_BYTES)
        self._detour.passed_per_s()

    def measure(self) -> Reading:
        if not self._detour.alive:
            return Reading(None, "gone")
        return _reading(self._detour.bytes_per_s, self._detour.passed_per_s(), "bytes passed on", self._detour.cost.look())

    def undo(self) -> str:
        return self._detour.end()


class NarrowLink:
    """By the kernel; counted where the frames come out of the link."""

    fidelity = "equivalent"

    def __init__(self, detour: Detour, dose_mbit: float) -> None:
        self._detour, self._path = detour, detour.path
        self.port = detour.port
        self.mechanism = f"tbf {LINK} (adds {detour.own_ns / 1e6:.3f} ms)"
        self._path.offload(False)  # what the link counts are frames, each with its headers
        self._detour.end_trips()
        self._detour.hold(bytes_per_s=dose_mbit * _MBIT_BYTES)
        self._before = self._count()
        self._limit = OverTime(self._before[2])

    def set(self, dose: float) -> None:
        self._detour.hold(bytes_per_s=dose * _MBIT_BYTES)
        self._limit.set(self._count()[2])

    def _count(self) -> tuple[int, list[int], float]:
        ends = self._path.count()
        return ends[0]["at_ns"], [end["link_bytes"] for end in ends], min(end["tbf"]["bytes_per_s"] for end in ends)

    def measure(self) -> Reading:
        (then_ns, had, _), self._before = self._before, self._count()
        now_ns, have, limit = self._before
        self._limit.set(limit)
        passed = max(n - b for n, b in zip(have, had, strict=True)) * 1e9 / max(1, now_ns - then_ns)
        return _reading(self._limit.look(), passed, "link rx_bytes", self._detour.cost.look())

    def undo(self) -> str:
        return self._detour.end()


class NetBandwidth:
    name = "net-bandwidth"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if kernel_path.chosen({}, "tbf") is not None:
            return Capability(True, f"tbf {LINK}", "equivalent", max_dose=_WIDEST)
        return Capability(True, MECHANISM, "proxy", f"payload is paced, not packets ({kernel_path.able().reason('tbf')})")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Narrow | NarrowLink:
        by_kernel = kernel_path.chosen(options, "tbf") is not None
        with standing(self.name, context, link=by_kernel) as detour:
            return NarrowLink(detour, dose) if by_kernel else Narrow(detour, dose)


VIOLATION = NetBandwidth()
