"""`memhog`: a neighbour that holds memory, in MiB. (`memory`, by contrast, is how much the machine of the system has.)

Anonymous memory, each page written with its own value so that nothing merges them, at once or growing by `growth_mib_s`. The kernel tells
how much of it is resident; while it grows, a second counts as given only once all
of it is there. What would leave the machine less than a twentieth of its memory, or 512 MiB, is refused.
"""

import time
from collections.abc import Mapping

from agent import kernel_counts, spare_memory
from agent.paced import Cost, Launched, Order
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "native process that holds anonymous memory"
_MIB = 1 << 20
_LOOK_S = 0.01
_SLOWEST_BYTES_S = 0.2e9
"""Any machine touches new memory faster: how long "at once" may take."""


class Held:
    """The process that holds it."""

    fidelity = "exact"

    def __init__(self, dose: float, options: Mapping[str, str], context: Context) -> None:
        growth = float(options.get("growth_mib_s", 0)) * _MIB
        numbers = {"most_bytes": dose * _MIB, "grow_bytes_per_s": growth}
        self._launched = Launched(Order("memhog", "hold", _MECHANISM, _MIB, place="anywhere", numbers=numbers), options, context)
        self.mechanism = f"{_MECHANISM} {self._launched.where}"
        self._own_bytes = kernel_counts.anonymous_bytes(self._launched.child.pid)
        self._cost = Cost(self._launched.scope)
        self._launched.page.ask(dose * _MIB)

    def full(self, bytes_wanted: float) -> bool:
        return self._launched.page.done >= int(bytes_wanted) // 4096 * 4096 or not self._launched.alive

    def measure(self) -> Reading:
        if not self._launched.alive:
            return Reading(None, "RssAnon")
        held = kernel_counts.anonymous_bytes(self._launched.child.pid) - self._own_bytes
        return Reading(held / _MIB, "RssAnon", self._cost.look())

    def undo(self) -> str:
        return self._launched.end()


class MemHog:
    name = "memhog"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, _MECHANISM, "exact", max_dose=spare_memory.ever_bytes() // _MIB)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Held:
        if dose > (free := spare_memory.now_bytes() / _MIB):
            raise PreflightFailed(f"violation memhog: {dose:g} MiB asked, {free:.0f} MiB can be lent without starving this machine")
        held = Held(dose, options, context)
        deadline = time.monotonic() + dose * _MIB / _SLOWEST_BYTES_S + 1
        while "growth_mib_s" not in options and not held.full(dose * _MIB) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return held


VIOLATION = MemHog()
