"""`net-bandwidth`: the link between load and system is narrower, in Mbit/s (1e6 bits of payload a second) each way, over all connections.

The relay takes in no faster than it lets go, so that senders feel it by TCP's own means; datagrams beyond 50 ms of queue are dropped.
Whether the limit is met can be seen only while there is more to pass than it lets through: otherwise the limit in force is read back.
"""

from collections.abc import Mapping

from agent.detour import MECHANISM, Detour
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading

_MBIT_BYTES = 125_000.0
_MET = 0.9
"""A way that passes this much of its limit is one that the limit holds."""


class Narrow:
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
        limit, passed = self._detour.bytes_per_s, self._detour.passed_per_s()
        met = passed >= _MET * limit
        source = "bytes passed on" if met else "limit in force"
        return Reading((passed if met else limit) / _MBIT_BYTES, source, self._detour.cost.look())

    def undo(self) -> str:
        return self._detour.end()


class NetBandwidth:
    name = "net-bandwidth"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, MECHANISM, "proxy", "payload is paced, not packets")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Narrow:
        return Narrow(Detour(self.name, context), dose)


VIOLATION = NetBandwidth()
