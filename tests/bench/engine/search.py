"""The highest rate that a criterion admits: doubling, then bisection on the geometric mean."""

import time
from collections.abc import Callable
from typing import TypeVar

Kept = TypeVar("Kept")
FLOOR = 4
TRIES, PAUSE_S = 2, 0.5
"""A rate is refused only if it fails this often, so far apart: a disturbance from outside must not end the search."""
RESUMED = 3
"""A longer disturbance: the least rate that was refused is asked again at the end; if it holds now, the search goes on from there."""


def highest(holds: Callable[[float], Kept | None], *, start: float, ceiling: float, steps: int = 5) -> tuple[float, Kept] | None:
    """`holds` gives what it kept of a run that met the criterion, None of one that did not. None: not even a quarter of `start` holds.

    After the doubling the answer is known to a factor of two; each step takes the square root: five leave 2.2 %.
    """

    def attempt(rate: float) -> Kept | None:
        for turn in range(TRIES):
            if turn:
                time.sleep(PAUSE_S)
            kept = holds(rate)
            if kept is not None:
                return kept
        return None

    low, best = start, attempt(start)
    while best is None:
        low /= 2
        if low < start / FLOOR:
            return None
        best = attempt(low)
    for _ in range(RESUMED + 1):
        high = low * 2
        while high <= ceiling:
            kept = attempt(high)
            if kept is None:
                break
            low, best, high = high, kept, high * 2
        else:
            return low, best
        for _ in range(steps):
            middle = (low * high) ** 0.5
            kept = attempt(middle)
            if kept is None:
                high = middle
            else:
                low, best = middle, kept
        kept = attempt(high)
        if kept is None:
            break
        low, best = high, kept
    return low, best
