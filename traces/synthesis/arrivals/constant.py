"""constant: one request each 1/rate seconds, the first at 0."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from traces.schema import BATCH_ROWS
from traces.synthesis.arrivals import Arrivals, Floats
from traces.synthesis.spec import Given


@dataclass(frozen=True)
class Equidistant:
    rate_per_s: float

    @property
    def steady(self) -> bool:
        return True

    def expected(self, until_ns: int) -> float:
        return self.rate_per_s * until_ns / 1e9

    def lots(self, key: int) -> Iterator[Floats]:
        mean_gap_ns, done = 1e9 / self.rate_per_s, 0
        while True:
            yield np.arange(done, done + BATCH_ROWS, dtype=np.uint64).astype(np.float64) * mean_gap_ns
            done += BATCH_ROWS


class Constant:
    name = "constant"
    summary = "equidistant requests"
    example = "constant:1000,for=10s"
    parameters = ()

    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        return Equidistant(rate_per_s)


LAW = Constant()
