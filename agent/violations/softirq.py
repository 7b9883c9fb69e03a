"""`softirq`: a neighbour whose packets the kernel works on, in packets a second over a loopback, small ones.

The work is done in softirq context on the core of the sender, the system's by default: it runs before whatever else would run there.
"""

from collections.abc import Mapping

from agent import packet_load
from agent.paced import Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_PACKET_BYTES = 64


def _order(options: Mapping[str, str]) -> Order:
    return packet_load.order("softirq", options, _PACKET_BYTES, None, "same-core")


class SoftIrq:
    name = "softirq"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, packet_load.mechanism(None), "exact" if packet_load.may_have_own_network() else "equivalent")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(_order(options), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_order({}), context)


VIOLATION = SoftIrq()
