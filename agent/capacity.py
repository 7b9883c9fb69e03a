"""The highest rate at which an objective holds: doubling, bisection, and a second look. Pure; a probe is given.

A probe near the edge is noisy, and a bisection believes each of its probes. So a rate that fails is tried again, and fails by the
majority of three: a disturbance of the machine must not become the capacity. And the rate at the end is tried again from both sides:
it stands only if it holds by majority, and if the rate above it, which had failed, still does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CONFIRMATIONS = 3
LOWEST = 1024
"""The search gives up at the first rate divided by this."""


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

    def once(rate: float) -> bool:
        tried.append(probe(rate))
        return tried[-1].holds

    def holds(rate: float) -> bool:
        """One success is believed for now; a failure only by majority."""
        return once(rate) or (once(rate) and once(rate))

    def bisect(low: float, high: float) -> float:
        while high - low > resolution * high:
            middle = (low + high) / 2
            low, high = (middle, high) if holds(middle) else (low, middle)
        return low

    low, high = 0.0, start_per_s
    while holds(high):
        low = high
        if high >= most_per_s:
            return Capacity(low, True, tuple(tried)) if once(low) or once(low) else Capacity(bisect(low / 2, low), False, tuple(tried))
        high = min(high * 2, most_per_s)
    while low == 0.0:
        if high < start_per_s / LOWEST:
            return Capacity(None, False, tuple(tried))
        if holds(high / 2):
            low = high / 2
        else:
            high /= 2
    low = bisect(low, high)
    while True:
        # From below: what had failed must fail again, or the search goes on from there, in steps that double.
        top, step = low, 2 * resolution
        while top * (1 + step) < most_per_s and holds(top * (1 + step)):
            top, step = top * (1 + step), 2 * step
        if top == low:
            break
        low = bisect(top, min(top * (1 + step), most_per_s))
    while sum(once(low) for _ in range(CONFIRMATIONS)) * 2 < CONFIRMATIONS:
        low *= 1 - resolution
        if low < start_per_s / LOWEST:
            return Capacity(None, False, tuple(tried))
    return Capacity(low, False, tuple(tried))
