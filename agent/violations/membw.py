"""`membw`: a neighbour on the memory bus, in GB/s (1e9 bytes a second) read and written together.

Paced native streams over a buffer larger than the caches, reads and writes that pass the cache in turn, on a core that is not the system's
unless asked otherwise: the bus is what is shared. Streams burn CPU as well, and what they burn stands beside every reading.
"""

import os
from collections.abc import Mapping

from agent.paced import Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_MECHANISM = "paced native streams"
_LARGER_THAN_CACHES = 256 << 20
_FREE_BYTES = 1 << 30


def _order(threads: int) -> Order:
    return Order("membw", "membw", _MECHANISM, 1e9, threads=threads, numbers={"buffer_bytes": _LARGER_THAN_CACHES})


class MemoryBandwidth:
    name = "membw"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        free = int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
        if free < _FREE_BYTES:
            return Capability(False, reason=f"{free >> 20} MiB of memory are free; the streams need 256 MiB and leave the rest alone")
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(_order(int(float(options.get("threads", 1)))), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_order(1), context)


VIOLATION = MemoryBandwidth()
