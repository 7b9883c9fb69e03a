"""`net-jitter`: the network between load and system is uneven. Each message to the system is late by a time drawn evenly from 0 up to the
dose, in ms. By the relay none overtakes another of its connection; by netem, on a link of its own, packets do, as on several ways at once,
and TCP puts them in order again.
"""

from collections.abc import Mapping

from agent import kernel_path
from agent.detour import LINK, MECHANISM, Detour, standing
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading

_MS_NS = 1e6


class Uneven:
    def __init__(self, detour: Detour, dose_ms: float) -> None:
        self._detour = detour
        self.mechanism, self.fidelity = (MECHANISM, "proxy") if not detour.linked else (f"netem {LINK}", "equivalent")
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
        if kernel_path.chosen({}, "netem") is not None:
            return Capability(True, f"netem {LINK}", "equivalent")
        return Capability(True, MECHANISM, "proxy", f"messages of a connection keep their order ({kernel_path.able().reason('netem')})")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Uneven:
        with standing(self.name, context, link=kernel_path.chosen(options, "netem") is not None) as detour:
            return Uneven(detour, dose)


VIOLATION = NetJitter()
