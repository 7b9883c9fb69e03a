"""flash: a flash crowd on a steady baseline: a linear rise to peak times the baseline, a hold, an exponential decay back."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from traces.synthesis.arrivals import Arrivals, Floats
from traces.synthesis.arrivals.inversion import inverted, unit_arrivals
from traces.synthesis.spec import DURATION, Given, Parameter, number

PEAK = Parameter("peak", number(1, 10_000), "the highest rate, as a multiple of the baseline", "10")
AT = Parameter("at", DURATION, "when the rise begins", "20s")
RISE = Parameter("rise", DURATION, "how long the linear rise takes; 0s is a step", "5s")
HOLD = Parameter("hold", DURATION, "how long the peak lasts", "10s")
DECAY = Parameter("decay", DURATION, "time constant of the fall back (to 1/e of the excess); 0s is a step", "15s")


@dataclass(frozen=True)
class Crowd:
    """Times in seconds. `rate_per_s`, the mean over a long time, is the baseline."""

    rate_per_s: float
    peak: float
    at_s: float
    rise_s: float
    hold_s: float
    decay_s: float

    def rate(self, t: Floats) -> Floats:
        since = t - self.at_s
        rising = np.clip(since / self.rise_s, 0.0, 1.0) if self.rise_s else (since >= 0).astype(np.float64)
        after = np.maximum(since - self.rise_s - self.hold_s, 0.0)
        falling = np.exp(-after / self.decay_s) if self.decay_s else (after <= 0).astype(np.float64)
        rates: Floats = self.rate_per_s * (1 + (self.peak - 1) * rising * falling)
        return rates

    def count(self, t: Floats) -> Floats:
        """The rate, integrated from 0."""
        since = np.maximum(t - self.at_s, 0.0)
        up = np.minimum(since, self.rise_s)
        excess = up**2 / (2 * self.rise_s) if self.rise_s else np.zeros_like(t)
        excess = excess + np.clip(since - self.rise_s, 0.0, self.hold_s)
        after = np.maximum(since - self.rise_s - self.hold_s, 0.0)
        if self.decay_s:
            excess = excess - self.decay_s * np.expm1(-after / self.decay_s)
        total: Floats = self.rate_per_s * (t + (self.peak - 1) * excess)
        return total

    @property
    def steady(self) -> bool:
        return False

    def expected(self, until_ns: int) -> float:
        return float(self.count(np.array([until_ns / 1e9]))[0])

    def lots(self, key: int) -> Iterator[Floats]:
        for sums in unit_arrivals(key):
            alone = sums / self.rate_per_s
            yield inverted(self.count, self.rate, sums, alone / self.peak, alone) * 1e9


class Flash:
    name = "flash"
    summary = "a flash crowd on a steady baseline rate"
    example = "flash:1000,peak=10,at=20s,rise=5s,hold=10s,decay=15s,for=2m"
    parameters = (PEAK, AT, RISE, HOLD, DECAY)

    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        times = (given.need(parameter) / 1e9 for parameter in (AT, RISE, HOLD, DECAY))
        return Crowd(rate_per_s, given.need(PEAK), *times)


LAW = Flash()
