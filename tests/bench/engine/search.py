"""The highest rate that a criterion admits: doubling, then bisection on the geometric mean."""

from collections.abc import Callable
from typing import TypeVar

Kept = TypeVar("Kept")
FLOOR = 4
TRIES = 2
"""A rate is refused only if it fails this often in a row: a disturbance from outside must not end the search."""


def highest(holds: Callable[[float], Kept | None], *, start: float, ceiling: float, steps: int = 5) -> tuple[float, Kept] | None:
    """`holds` gives what it kept of a run that met the criterion, None of one that did not. None: not even `start` / 64 holds.

    After the doubling the answer is known to a factor of two; each step takes the square root: five leave 2.2 %.
    """

    def attempt(rate: float) -> Kept | None:
        for _ in range(TRIES):
            kept = holds(rate)
            if kept is not None:
                return kept
        return None

    low, best = start, attempt(start)
    high = start
    if best is None:
        while best is None:
            high, low = low, low / 2
            if low < start / FLOOR:
                return None
            best = attempt(low)
    else:
        while True:
            high = low * 2
            if high > ceiling:
                return low, best
            kept = attempt(high)
            if kept is None:
                break
            low, best = high, kept
    for _ in range(steps):
        middle = (low * high) ** 0.5
        kept = attempt(middle)
        if kept is None:
            high = middle
        else:
            low, best = middle, kept
    return low, best
