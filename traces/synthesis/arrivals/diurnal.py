"""diurnal: a Poisson process whose rate swings as a sine: rate * (1 + amplitude * sin(2 pi (t / period + phase)))."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from traces.synthesis.arrivals import Arrivals, Floats
from traces.synthesis.arrivals.inversion import inverted, unit_arrivals
from traces.synthesis.spec import LASTING, Given, Parameter, number

PERIOD = Parameter("period", LASTING, "time of one swing", "24h")
AMPLITUDE = Parameter("amplitude", number(0, 1), "how far the rate swings, as a share of its mean", "0.6")
PHASE = Parameter("phase", number(0, 1), "where in a swing the trace begins: 0 at the mean, rising; 0.75 at the lowest", "0.75", "0")


@dataclass(frozen=True)
class Sine:
    """Times in seconds inside."""

    rate_per_s: float
    period_s: float
    amplitude: float
    phase: float

    def rate(self, t: Floats) -> Floats:
        swing: Floats = self.rate_per_s * (1 + self.amplitude * np.sin(2 * np.pi * (t / self.period_s + self.phase)))
        return swing

    def count(self, t: Floats) -> Floats:
        """The rate, integrated from 0."""
        wave = np.cos(2 * np.pi * self.phase) - np.cos(2 * np.pi * (t / self.period_s + self.phase))
        total: Floats = self.rate_per_s * (t + self.amplitude * self.period_s / (2 * np.pi) * wave)
        return total

    @property
    def steady(self) -> bool:
        return False

    def expected(self, until_ns: int) -> float:
        return float(self.count(np.array([until_ns / 1e9]))[0])

    def lots(self, key: int) -> Iterator[Floats]:
        off = self.amplitude * self.period_s / math.pi
        for sums in unit_arrivals(key):
            middle = sums / self.rate_per_s
            yield inverted(self.count, self.rate, sums, np.maximum(middle - off, 0.0), middle + off) * 1e9


class Diurnal:
    name = "diurnal"
    summary = "Poisson with a rate that swings as a sine"
    example = "diurnal:2000,period=1h,amplitude=0.6,for=2h"
    parameters = (PERIOD, AMPLITUDE, PHASE)

    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        return Sine(rate_per_s, given.need(PERIOD) / 1e9, given.need(AMPLITUDE), given.need(PHASE))


LAW = Diurnal()
