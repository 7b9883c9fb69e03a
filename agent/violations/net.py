"""`net`: a neighbour on the network stack, in Mbit/s (1e6 bits a second, from the IP header on) of datagrams to a sink on this node.

Over a loopback of its own, which the kernel counts, or to an `address` of the node's own: such packets, too, stay within the kernel.
`packet_bytes` is their size.
"""

from collections.abc import Mapping

from agent import packet_load
from agent.paced import Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_PACKET_BYTES = 1500
_MBIT_BYTES = 125_000.0


def _order(options: Mapping[str, str]) -> Order:
    return packet_load.order("net", options, _PACKET_BYTES, _MBIT_BYTES, "other-core")


class Net:
    name = "net"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, packet_load.mechanism(None), "exact" if packet_load.may_have_own_network() else "equivalent")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(_order(options), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_order({}), context)


VIOLATION = Net()
