"""`net-latency`: the network between load and system is longer. The dose is what is added to a round trip, in ms.

The load reaches the system by way of a link of its own, on which netem holds half of it each way (agent/hop.py), or where the kernel has no
netem of a relay, which does the same (agent/detour.py). The way's own cost is measured first and taken off, so that a dose below it cannot
be given. `connect` returns at once either way, because a relay of ours accepts; on the link the handshake behind it takes a round trip, so
that a connection's first answer is later by that too, as over a long way; by the relay alone it is not.
"""

from collections.abc import Mapping

from agent import kernel_path
from agent.detour import LINK, MECHANISM, Detour, standing
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading

_MS_NS = 1e6


class Longer:
    def __init__(self, detour: Detour, dose_ms: float) -> None:
        self._detour = detour
        self.port = detour.port
        way, self.fidelity = (MECHANISM, "proxy") if not detour.linked else (f"netem {LINK}", "equivalent")
        self.mechanism = f"{way} (its own {detour.own_ns / 1e6:.3f} ms taken off)"
        self.set(dose_ms)

    def set(self, dose: float) -> None:
        self._detour.hold(delay_ns=dose * _MS_NS - self._detour.own_ns)
        self._detour.added_ns()  # what came back so far was of the time before

    def measure(self) -> Reading:
        added = self._detour.added_ns() if self._detour.alive else None
        return Reading(None if added is None else added / _MS_NS, "round trips", self._detour.cost.look())

    def undo(self) -> str:
        return self._detour.end()


class NetLatency:
    name = "net-latency"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if kernel_path.chosen({}, "netem") is not None:
            return Capability(True, f"netem {LINK}", "equivalent")
        return Capability(True, MECHANISM, "proxy", f"connections are set up without the delay ({kernel_path.able().reason('netem')})")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Longer:
        with standing(self.name, context, link=kernel_path.chosen(options, "netem") is not None) as detour:
            return Longer(detour, dose)


VIOLATION = NetLatency()
