"""The highest rate at which an objective holds: doubling, bisection, and a second look. Pure; a probe is given.

A probe near the edge is noisy, and a bisection believes each of its probes. So the rate that it ends at is tried again, from below:
it stands only if it holds a majority of its probes; else the search steps down until one does. That pass costs a few probes and
keeps one lucky second from becoming the capacity.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CONFIRMATIONS = 3


@dataclass(frozen=True)
class Probe:
    """One rate, tried once."""

    rate_per_s: float
    holds: bool
    why: str
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Capacity:
    """`rate_per_s`: None where not even the lowest rate holds. `at_least`: nothing higher was tried that failed."""

    rate_per_s: float | None
    at_least: bool
    probes: tuple[Probe, ...]


def search(probe: Callable[[float], Probe], start_per_s: float, most_per_s: float, resolution: float = 0.02) -> Capacity:
    """`resolution`: share of the rate at which the bisection ends. Raises ValueError for bounds that are none."""
    if not 0 < start_per_s <= most_per_s or not 0 < resolution < 1:
        raise ValueError(f"start {start_per_s}, most {most_per_s}, resolution {resolution}")
    tried: list[Probe] = []

    def holds(rate: float) -> bool:
        tried.append(probe(rate))
        return tried[-1].holds

    low, high = 0.0, start_per_s
    while holds(high):
        low = high
        if high >= most_per_s:
            break
        high = min(high * 2, most_per_s)
    else:
        if low == 0.0:
            while high > start_per_s / 1024 and low == 0.0:
                if holds(high / 2):
                    low = high / 2
                else:
                    high /= 2
        while low and high - low > resolution * high:
            middle = (low + high) / 2
            low, high = (middle, high) if holds(middle) else (low, middle)
    at_least = low == most_per_s
    while low:
        confirmed = sum(holds(low) for _ in range(CONFIRMATIONS - 1)) + 1
        if confirmed * 2 > CONFIRMATIONS:
            return Capacity(low, at_least, tuple(tried))
        at_least = False
        low *= 1 - resolution
        if not holds(low):
            low *= 1 - resolution
        if low < start_per_s / 1024:
            break
    return Capacity(None, False, tuple(tried))
