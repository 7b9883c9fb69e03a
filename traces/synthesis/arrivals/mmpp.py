"""mmpp: a Poisson process between two rates, calm and burst, each held for an exponential time; it begins calm.

The times of the states depend on seed and number of the visit alone; they are summed in fixed lots of visits, whatever is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from traces.draws import stream, uniform_all
from traces.synthesis.arrivals import Arrivals, Floats
from traces.synthesis.arrivals.inversion import unit_arrivals
from traces.synthesis.spec import LASTING, RATE, Given, Parameter

BURST = Parameter("burst", RATE, "rate while it bursts (the head's rate is that of the calm state)", "20000")
CALM_FOR = Parameter("calm_for", LASTING, "mean time of a calm", "9s")
BURST_FOR = Parameter("burst_for", LASTING, "mean time of a burst", "1s")
_VISITS = 4096
"""Visits of states drawn at once, an even number."""


@dataclass(frozen=True)
class Modulated:
    calm_per_s: float
    burst_per_s: float
    calm_s: float
    burst_s: float

    @property
    def rate_per_s(self) -> float:
        return (self.calm_per_s * self.calm_s + self.burst_per_s * self.burst_s) / (self.calm_s + self.burst_s)

    @property
    def steady(self) -> bool:
        return True

    def expected(self, until_ns: int) -> float:
        return self.rate_per_s * until_ns / 1e9

    def lots(self, key: int) -> Iterator[Floats]:
        means, rates = np.array([self.calm_s, self.burst_s]), np.array([self.calm_per_s, self.burst_per_s])
        visits = stream(key, "mmpp", "visit")
        times, counts, drawn = np.zeros(1), np.zeros(1), 0
        for sums in unit_arrivals(key):
            while counts[-1] <= sums[-1]:
                number = np.arange(drawn, drawn + _VISITS, dtype=np.uint64)
                state = (number % np.uint64(2)).astype(np.int64)
                held = -np.log(uniform_all(visits, number)) * means[state]
                times = np.concatenate((times, times[-1] + np.cumsum(held)))
                counts = np.concatenate((counts, counts[-1] + np.cumsum(held * rates[state])))
                drawn += _VISITS
            yield np.interp(sums, counts, times) * 1e9
            passed = max(0, int(np.searchsorted(counts, sums[-1], side="right")) - 1)
            times, counts = times[passed:], counts[passed:]


class Mmpp:
    name = "mmpp"
    summary = "Poisson between a calm and a burst rate, each held for an exponential time"
    example = "mmpp:1000,burst=20000,calm_for=9s,burst_for=1s,for=10m"
    parameters = (BURST, CALM_FOR, BURST_FOR)

    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        return Modulated(rate_per_s, given.need(BURST), given.need(CALM_FOR) / 1e9, given.need(BURST_FOR) / 1e9)


LAW = Mmpp()
