"""Poisson processes whose rate changes: the arrivals of a unit process, sent through the inverse of the integrated rate, which is exact
(Cinlar's time change), with no thinning and so one draw a request.
"""

from collections.abc import Callable, Iterator

import numpy as np

from traces.draws import uniform_all
from traces.schema import BATCH_ROWS
from traces.synthesis.arrivals import Floats

_ROUNDS = 80
_ENOUGH_S = 1e-10
"""A last step of so little: the one after it would be far below the nanosecond to which times are cut."""


def unit_arrivals(key: int) -> Iterator[Floats]:
    """A Poisson process of rate 1, in lots."""
    clock, done = 0.0, 0
    while True:
        sums = clock + np.cumsum(-np.log(uniform_all(key, np.arange(done, done + BATCH_ROWS, dtype=np.uint64))))
        clock = float(sums[-1])
        done += BATCH_ROWS
        yield sums


def inverted(count: Callable[[Floats], Floats], rate: Callable[[Floats], Floats], goal: Floats, low: Floats, high: Floats) -> Floats:
    """Where a rising `count` reaches each `goal`, between `low` and `high`: Newton's step, or the middle where that leads outside.
    In seconds.
    """
    low, high = low.copy(), high.copy()
    at: Floats = (low + high) / 2
    for _ in range(_ROUNDS):
        over = count(at) - goal
        high, low = np.where(over > 0, at, high), np.where(over > 0, low, at)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = at - over / rate(at)
        inside = (step >= low) & (step <= high)
        following = np.where(inside, step, (low + high) / 2)
        if np.all(np.abs(following - at) <= 4e-16 * np.abs(at) + _ENOUGH_S):
            return np.maximum.accumulate(following)
        at = following
    return np.maximum.accumulate(at)
