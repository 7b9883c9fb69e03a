"""Renewal processes: gaps are independent and alike. A law is the quantile function of a gap whose mean is 1."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from traces.draws import uniform_all
from traces.schema import BATCH_ROWS
from traces.synthesis.arrivals import Floats


@dataclass(frozen=True)
class Renewal:
    """`quantile` maps (0, 1) to gaps of mean 1; `figures` are what sets it, for the identity of a trace."""

    law: str
    rate_per_s: float
    figures: tuple[float, ...]
    quantile: Callable[[Floats], Floats] = field(repr=False)

    @property
    def steady(self) -> bool:
        return True

    def expected(self, until_ns: int) -> float:
        return self.rate_per_s * until_ns / 1e9

    def lots(self, key: int) -> Iterator[Floats]:
        mean_gap_ns, clock_ns, done = 1e9 / self.rate_per_s, 0.0, 0
        while True:
            index = np.arange(done, done + BATCH_ROWS, dtype=np.uint64)
            exact = clock_ns + np.cumsum(self.quantile(uniform_all(key, index))) * mean_gap_ns
            clock_ns = float(exact[-1])
            done += BATCH_ROWS
            yield exact


def exponential(u: Floats) -> Floats:
    gaps: Floats = -np.log(u)
    return gaps
