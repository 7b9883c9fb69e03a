"""`lock`: a neighbour with a contended lock, in hand-overs a second.

Pairs of threads pass a shared futex to and fro, each waiting for it in the kernel: wake-ups, run queues and the futex table are what is
shared. `threads` is the number of pairs.
"""

from collections.abc import Mapping

from agent.paced import Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_MECHANISM = "paced native futex hand-overs"


def _order(pairs: int) -> Order:
    return Order("lock", "locks", _MECHANISM, 1.0, threads=pairs)


class Lock:
    name = "lock"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(_order(int(float(options.get("threads", 1)))), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_order(1), context)


VIOLATION = Lock()
