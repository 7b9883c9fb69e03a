"""Histograms of non-negative values in bins of 1 %, kept apart by stretch of the trace: what every law of a portrait is made of.

Each bin remembers the least and the largest value that fell into it, so that a value which stands alone in its bin is kept exactly and
any other is known within 1 %. Memory is constant: 32 stretches of equally many rows, whose length doubles whenever the trace outgrows them.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WIDTH = 0.01
"""Relative width of a bin, and so the largest relative error of a value."""
STRETCHES = 32
_STEP = math.log1p(WIDTH)
BINS = 2 + math.ceil(math.log(2**64) / _STEP)
"""Zero and below, then 1 to 2^64. A value between 0 and 1 counts as 1's bin does."""


def bin_of(numbers: Floats) -> npt.NDArray[np.intp]:
    """The bin of each number."""
    found = np.log(np.maximum(numbers, 1.0)) / _STEP
    return np.where(numbers > 0, found.astype(np.intp) + 1, 0)


@dataclass(frozen=True)
class Bins:
    """Bins that hold something: `weights[s, k]` of stretch s lies evenly between `low[k]` and `high[k]`; sorted, and never overlapping.
    `by_group` parts the same weights by the group of the object instead; without rows where no groups were given.
    """

    low: Floats
    high: Floats
    weights: Floats
    by_group: Floats

    @property
    def total(self) -> Floats:
        """Weights over all stretches."""
        summed: Floats = self.weights.sum(axis=0)
        return summed

    def mean(self) -> float:
        return float(np.average((self.low + self.high) / 2, weights=self.total))

    def quantile(self, q: float) -> float:
        """Within 1 %; exact where the bin holds one value."""
        whole = self.total
        upto = np.cumsum(whole)
        k = min(int(np.searchsorted(upto, q * upto[-1])), len(whole) - 1)
        inside = (q * upto[-1] - (upto[k] - whole[k])) / whole[k]
        return float(self.low[k] + (self.high[k] - self.low[k]) * min(1.0, max(0.0, inside)))

    def shares_below(self, value: float) -> Floats:
        """What share of each bin lies at or below a value."""
        inside = np.clip((value - self.low) / np.maximum(self.high - self.low, 1e-300), 0, 1)
        found: Floats = np.where(self.high <= value, 1.0, np.where(self.low > value, 0.0, inside))
        return found


class Stretched:
    """Weights in `width` places, apart by stretch of the trace."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._weights: Floats | None = None  # made when first needed: many columns of many traces are empty
        self._stretch_rows = 1

    def add(self, places: npt.NDArray[np.integer], rows: Ints, weight: float = 1.0) -> None:
        """So much more in each place; `rows` count from 0 over the whole trace and never fall within a call."""
        if not len(places):
            return
        weights = self._made()
        while rows[-1] >= STRETCHES * self._stretch_rows:
            weights[: STRETCHES // 2], weights[STRETCHES // 2 :] = weights[0::2] + weights[1::2], 0
            self._stretch_rows *= 2
        first = int(rows[0]) // self._stretch_rows
        span = int(rows[-1]) // self._stretch_rows + 1 - first
        at = places if span == 1 else places + (rows // self._stretch_rows - first) * self._width
        weights[first : first + span] += weight * np.bincount(at, minlength=span * self._width).reshape(span, self._width)

    def add_in(self, places: npt.NDArray[np.integer], stretches: Ints) -> None:
        """One more in each place of the stretch given."""
        if len(places):
            weights = self._made()
            weights += np.bincount(places + stretches * self._width, minlength=weights.size).reshape(weights.shape)

    def _made(self) -> Floats:
        if self._weights is None:
            self._weights = np.zeros((STRETCHES, self._width))
        return self._weights

    def weights(self) -> Floats | None:
        """By stretch, without those that hold nothing; None where nothing was added."""
        if self._weights is None:
            return None
        held: Floats = self._weights[self._weights.any(axis=1)]
        return held


class Binned:
    """Add values with the numbers of their rows; read `bins`."""

    def __init__(self) -> None:
        self._weights = Stretched(BINS)
        self._by_group = Stretched(BINS)
        self._low = np.full(BINS, np.inf)
        self._high = np.full(BINS, -np.inf)

    def add(self, values: npt.NDArray[Any], rows: Ints, groups: Ints | None = None, weight: float = 1.0) -> None:
        """`rows` and `weight` as Stretched has them; `groups` from 0 to STRETCHES - 1, for all values of a portrait or for none."""
        numbers = values.astype(np.float64)
        places = bin_of(numbers)
        np.minimum.at(self._low, places, numbers)
        np.maximum.at(self._high, places, numbers)
        self._weights.add(places, rows, weight)
        if groups is not None:
            self._by_group.add_in(places, groups)

    def bins(self) -> Bins | None:
        """None where nothing was added."""
        weights = self._weights.weights()
        if weights is None:
            return None
        held = np.flatnonzero(weights.any(axis=0))
        grouped = self._by_group.weights()
        by_group = np.empty((0, len(held))) if grouped is None else grouped[:, held]
        return Bins(self._low[held], self._high[held], weights[:, held], by_group)
