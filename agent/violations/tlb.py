"""`tlb`: a neighbour that walks through more small pages than the TLB holds, in touches a second, each of another page.

On the system's core by default, since a TLB belongs to one. Every page is touched in another line, so that the caches are not the dose.
"""

from collections.abc import Mapping

from agent.paced import Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_MECHANISM = "paced native touches of small pages"
_SET_MIB = 64
"""16384 small pages; second-level TLBs hold 1024 to 3072."""


def _order(set_mib: float) -> Order:
    numbers = {"set_bytes": set_mib * (1 << 20)}
    return Order("tlb", "pages", _MECHANISM, 1.0, fidelity="equivalent", place="same-core", numbers=numbers)


class Tlb:
    name = "tlb"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, _MECHANISM, "equivalent")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(_order(float(options.get("set_mib", _SET_MIB))), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_order(_SET_MIB), context)


VIOLATION = Tlb()
