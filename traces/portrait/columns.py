"""One column of whole numbers, in bounded memory: count, sum and extremes exactly; quantiles exactly while there are at most 2^17 different
values, and within 1 % beyond.
"""

import numpy as np
import numpy.typing as npt

from traces.portrait.bins import WIDTH, Binned, Bins, Floats, Ints

MOST_VALUES = 1 << 17
_LOT = 1 << 18


class Tallies:
    """Different whole numbers and how often each came; gives up beyond a number of them."""

    def __init__(self, most: int = MOST_VALUES) -> None:
        self._most = most
        self._waiting: list[Ints] = []
        self._count_waiting = 0
        self._values: Ints = np.empty(0, np.int64)
        self._counts: Ints = np.empty(0, np.int64)
        self._kept = True

    def add(self, values: npt.NDArray[np.integer]) -> None:
        if not self._kept:
            return
        self._waiting.append(values.astype(np.int64))
        self._count_waiting += len(values)
        if self._count_waiting > _LOT:
            self._take_in()

    def _take_in(self) -> None:
        if not self._waiting:
            return
        parts = [np.unique(part, return_counts=True) for part in self._waiting]
        self._waiting, self._count_waiting = [], 0
        values = np.concatenate([self._values, *(part[0] for part in parts)])
        counts = np.concatenate([self._counts, *(part[1] for part in parts)])
        self._values, places = np.unique(values, return_inverse=True)
        self._counts = np.bincount(places, weights=counts).astype(np.int64)
        if len(self._values) > self._most:
            self._kept, self._values, self._counts = False, np.empty(0, np.int64), np.empty(0, np.int64)

    def held(self) -> tuple[Ints, Ints] | None:
        """Values in order and their counts; None for too many."""
        self._take_in()
        return (self._values, self._counts) if self._kept else None


class Column:
    """Add values with the numbers of their rows; read the figures."""

    def __init__(self, most_values: int = MOST_VALUES) -> None:
        self.count = 0
        self.sum = 0
        self._tallies = Tallies(most_values)
        self._binned = Binned()

    def add(self, values: npt.NDArray[np.integer], rows: Ints, groups: Ints | None = None) -> None:
        """`rows` and `groups` as Binned has them."""
        if not len(values):
            return
        self.count += len(values)
        self.sum += int(values.sum(dtype=np.int64))
        self._tallies.add(values)
        self._binned.add(values, rows, groups)

    def bins(self) -> Bins | None:
        return self._binned.bins()

    def quantiles(self, percents: tuple[float, ...]) -> tuple[list[float], float]:
        """Linear quantiles, and their largest relative error. Wants at least one value."""
        held = self._tallies.held()
        if held is not None:
            return [quantile_of(*held, percent) for percent in percents], 0.0
        bins = self._binned.bins()
        assert bins is not None
        return [bins.quantile(percent / 100) for percent in percents], WIDTH


def quantile_of(values: Ints | Floats, counts: Ints, percent: float) -> float:
    """As numpy's linear percentile of the values, each taken `counts` times."""
    upto = np.cumsum(counts)
    place = (int(upto[-1]) - 1) * percent / 100
    whole = int(place)
    low, high = (values[np.searchsorted(upto, min(at, int(upto[-1]) - 1), side="right")] for at in (whole, whole + 1))
    return float(low + (high - low) * (place - whole))
