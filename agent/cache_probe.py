"""How large the last-level cache is that one core really has: where dependent loads over a growing working set become slow.

Takes about a second, and only once a boot: the answer is kept beside the calibrated doses.
"""

import os
from collections.abc import Mapping

from agent import calibrated, topology

_KIB = 1 << 10
_SMALLEST, _AT_LEAST, _LARGEST = 256 * _KIB, 32 << 20, 256 << 20
_NEARLY = 0.8
_EACH_MS = 8
_KEPT_AS = "cache-bytes-of-core-{core}"


def effective_bytes(core: int) -> float:
    """As found before on this node, or now. The machine should be idle for that."""
    name = _KEPT_AS.format(core=core)
    known = calibrated.known().get(name)
    if known is None:
        known = float(knee(measured(core), topology.declared_cache_bytes(core)))
        calibrated.keep({name: known})
    return known


def measured(core: int) -> dict[int, float]:
    """Working set in bytes -> ns per load, on that core: of memory, and in steps of half an octave up to where that is nearly reached."""
    from agent import _engine

    largest = min(_LARGEST, max(_AT_LEAST, 2 * topology.declared_cache_bytes(core)))
    octaves = [_SMALLEST << n for n in range(64) if _SMALLEST << n < largest]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        # Memory first: then the way up can end where it is reached.
        found = {largest: _engine.chase_load_ns(set_bytes=largest, each_ms=_EACH_MS)}
        for size in (part for octave in octaves for part in (octave, octave * 3 // 2)):
            found[size] = _engine.chase_load_ns(set_bytes=size, each_ms=_EACH_MS)
            if found[size] > _NEARLY * found[largest]:
                break
        return found
    finally:
        os.sched_setaffinity(0, before)


def knee(load_ns: Mapping[int, float], declared: int) -> int:
    """The largest working set whose loads are nearer to a cache's than to memory's, in the logarithm: sqrt(fastest x slowest) lies
    between. Where nothing rises the whole of what was tried, or declared, is cache.
    """
    sizes = sorted(load_ns)
    fastest, slowest = min(load_ns.values()), max(load_ns.values())
    if slowest < 2 * fastest:
        return declared or sizes[-1]
    between = (fastest * slowest) ** 0.5
    fitting = [size for size in sizes if load_ns[size] <= between]
    return max(fitting, default=sizes[0])
