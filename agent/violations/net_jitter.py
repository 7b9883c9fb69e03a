"""`net-jitter`: the network between load and system is uneven. Each message to the system is late by a time drawn evenly from 0 up to the
dose, in ms; none overtakes another of its connection, as TCP would have it.
"""

from collections.abc import Mapping

from agent.detour import MECHANISM, Detour
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading

_MS_NS = 1e6


class Uneven:
    mechanism = MECHANISM
    fidelity = "proxy"

    def __init__(self, detour: Detour, dose_ms: float) -> None:
        self._detour = detour
        self.port = detour.port
        self.set(dose_ms)

    def set(self, dose: float) -> None:
        self._detour.hold(jitter_ns=dose * _MS_NS)
        self._detour.spread_ns()  # what came back so far was of the time before

    def measure(self) -> Reading:
        spread = self._detour.spread_ns() if self._detour.alive else None
        return Reading(None if spread is None else spread / _MS_NS, "round trips", self._detour.cost.look())

    def undo(self) -> str:
        return self._detour.end()


class NetJitter:
    name = "net-jitter"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, MECHANISM, "proxy", "messages of a connection keep their order")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Uneven:
        return Uneven(Detour(self.name, context), dose)


VIOLATION = NetJitter()
