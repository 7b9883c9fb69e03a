"""`llc`: a neighbour in the last-level cache: a working set in percent of the cache that probing finds, touched again and again.

What a machine declares is not what a neighbour can have of it (a virtual machine is told anything), so 100 percent is where a chase through
memory becomes slow here. `cache_mib` says instead how large the cache is, which makes the dose one in MiB. The working set is kept warm by
`touches_per_s`; a second in which that many were not made gave so much less. Without a counter of occupancy this is as near as one comes.
"""

from collections.abc import Mapping

from agent import cache_probe
from agent.paced import Order, Paced
from agent.scope import Cgroups
from agent.violations import Capability, Context

_MECHANISM = "paced native touches of cache lines"
_TOUCHES_PER_S = 10e6
_MIB = 1 << 20


def _order(dose: float, touches_per_s: float, set_bytes: float, words: str) -> Order:
    # The dose is a size; its pace is the same for every size, so one unit of dose is that share of the touches.
    per_unit = touches_per_s / dose if dose else touches_per_s
    return Order("llc", "lines", f"{_MECHANISM} {words}", per_unit, "equivalent", place="same-cache", numbers={"set_bytes": set_bytes})


class LastLevelCache:
    name = "llc"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return Capability(True, _MECHANISM, "equivalent")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Paced:
        core = context.target_cores[0] if context.target_cores else context.all_cores[0]
        cache_bytes = float(options["cache_mib"]) * _MIB if "cache_mib" in options else cache_probe.effective_bytes(core)
        set_bytes = max(64.0, dose / 100 * cache_bytes)
        words = f"over {set_bytes / _MIB:.3g} MiB of {cache_bytes / _MIB:.3g} MiB"
        return Paced(_order(dose, float(options.get("touches_per_s", _TOUCHES_PER_S)), set_bytes, words), dose, options, context)


VIOLATION = LastLevelCache()
