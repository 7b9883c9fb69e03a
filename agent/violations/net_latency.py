"""`net-latency`: the network between load and system is longer. The dose is what is added to a round trip, in ms.

The load reaches the system by way of a relay, which holds half of it each way (agent/detour.py). The relay's own cost is measured first and
taken off, so that a dose below it cannot be given. Handshakes are answered by the relay at once: what is longer is each request and answer.
"""

from collections.abc import Mapping

from agent.detour import MECHANISM, Detour
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading

_MS_NS = 1e6


class Longer:
    fidelity = "proxy"

    def __init__(self, detour: Detour, dose_ms: float) -> None:
        self._detour = detour
        self.port = detour.port
        self.mechanism = f"{MECHANISM} (its own {detour.own_ns / 1e6:.3f} ms taken off)"
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
        return Capability(True, MECHANISM, "proxy", "connections are set up without the delay")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Longer:
        return Longer(Detour(self.name, context), dose)


VIOLATION = NetLatency()
