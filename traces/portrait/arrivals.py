"""Times between neighbours: mean and deviation exactly (merged as Chan, Golub and LeVeque 1979 do), their law in bins."""

import math

import numpy as np

from traces.portrait.bins import Binned, Bins, Ints


class Gaps:
    """Add arrivals in order with the numbers of their rows; read the figures."""

    def __init__(self) -> None:
        self.count = 0
        self.zero = 0
        self.mean_ns = 0.0
        self._squares = 0.0
        self._binned = Binned()
        self._last: int | None = None

    def add(self, arrival_ns: Ints, rows: Ints) -> None:
        gaps = np.diff(arrival_ns) if self._last is None else np.diff(arrival_ns, prepend=self._last)
        self._last = int(arrival_ns[-1])
        if not len(gaps):
            return
        mean, share = float(gaps.mean()), len(gaps) / (self.count + len(gaps))
        off = mean - self.mean_ns
        self._squares += float(((gaps - mean) ** 2).sum()) + off * off * self.count * share
        self.mean_ns += off * share
        self.count += len(gaps)
        self.zero += int((gaps == 0).sum())
        self._binned.add(gaps, rows[-len(gaps) :])

    @property
    def variation(self) -> float | None:
        """Population deviation over mean; None where all come at once."""
        return math.sqrt(self._squares / self.count) / self.mean_ns if self.mean_ns > 0 else None

    def bins(self) -> Bins | None:
        return self._binned.bins()
