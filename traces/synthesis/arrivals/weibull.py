"""weibull: gaps after Weibull's law, whose one shape runs from equidistant to heavy bursts."""

import math
from functools import partial

import numpy as np

from traces.synthesis.arrivals import Arrivals, Floats
from traces.synthesis.arrivals.renewal import Renewal
from traces.synthesis.spec import Given, Parameter, number

CV = Parameter("cv", number(0.01, 100), "coefficient of variation of the gaps", "3")


def cv_of(shape: float) -> float:
    """Standard deviation over mean: sqrt(G(1+2/k) / G(1+1/k)^2 - 1)."""
    return math.sqrt(max(0.0, math.expm1(math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape))))


def shape_of(cv: float) -> float:
    """The inverse, by bisection: variation falls as the shape grows."""
    low, high = 0.05, 200.0
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if cv_of(middle) > cv else (low, middle)
    return math.sqrt(low * high)


def gaps(shape: float, u: Floats) -> Floats:
    drawn: Floats = (-np.log(u)) ** (1 / shape) / math.gamma(1 + 1 / shape)
    return drawn


class Weibull:
    name = "weibull"
    summary = "Weibull gaps of a given variation: 1 is Poisson, above it bursts, below it more even"
    example = "weibull:5000,cv=3,for=60s"
    parameters = (CV,)

    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        cv = given.need(CV)
        return Renewal(self.name, rate_per_s, (cv,), partial(gaps, shape_of(cv)))


LAW = Weibull()
