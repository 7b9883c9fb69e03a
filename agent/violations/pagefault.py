"""`pagefault`: a neighbour whose pages are always new, in minor faults a second.

Pages of its own are touched for the first time and given back once all are: each fault takes the kernel's page allocator, zeroing, and the
locks behind them. The kernel counts the faults of the process.
"""

from collections.abc import Mapping

from agent import kernel_counts
from agent.paced import Counter, Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_MECHANISM = "paced native first touches"
_ORDER = Order("pagefault", "faults", _MECHANISM, 1.0, counter=Counter("minflt", kernel_counts.minor_faults))


class PageFault:
    name = "pagefault"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(_ORDER, dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_ORDER, context)


VIOLATION = PageFault()
