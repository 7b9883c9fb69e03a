"""`ctxswitch`: a neighbour whose threads take turns, in voluntary context switches a second.

Two threads hand a futex to and fro, on the system's core by default. The pace counts what the kernel counts, so the switches of its own
sleeps are part of the dose.
"""

from collections.abc import Mapping

from agent import kernel_counts
from agent.paced import Counter, Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_MECHANISM = "paced native threads in turn"
_COUNTER = Counter("voluntary_ctxt_switches", kernel_counts.voluntary_switches)
_ORDER = Order("ctxswitch", "switches", _MECHANISM, 1.0, place="same-core", counter=_COUNTER)


class ContextSwitches:
    name = "ctxswitch"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(_ORDER, dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_ORDER, context)


VIOLATION = ContextSwitches()
