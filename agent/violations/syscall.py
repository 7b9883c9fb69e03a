"""`syscall`: a neighbour that enters the kernel, in system calls a second.

Reads of one byte of /dev/zero: next to nothing beside the way in and out, and the kernel counts such calls by process. On the system's core
by default.
"""

from collections.abc import Mapping

from agent import kernel_counts
from agent.paced import OWN_COUNT, Counter, Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_MECHANISM = "paced native reads of /dev/zero"


def _calls(pid: int) -> int:
    return kernel_counts.io(pid, "syscr")


def _order() -> Order:
    counter = Counter("syscr", _calls) if kernel_counts.tells_io() else OWN_COUNT
    return Order("syscall", "calls", _MECHANISM, 1.0, place="same-core", counter=counter)


class SystemCalls:
    name = "syscall"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(_order(), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_order(), context)


VIOLATION = SystemCalls()
