"""gpareto: gaps after the generalised Pareto law, as Facebook's ETC pool has them (Atikoglu, SIGMETRICS 2012: 16.0292 us, 0.154971)."""

from functools import partial

import numpy as np

from traces.synthesis.arrivals import Arrivals, Floats
from traces.synthesis.arrivals.renewal import Renewal
from traces.synthesis.spec import Given, Parameter, number

SHAPE = Parameter(
    "shape", number(0.001, 0.95), "shape of the tail; the variation is (1 - 2 shape)^-1/2, without a limit from 0.5 on", "0.155"
)


def gaps(shape: float, u: Floats) -> Floats:
    drawn: Floats = np.expm1(-shape * np.log(u)) * ((1 - shape) / shape)
    return drawn


class GPareto:
    name = "gpareto"
    summary = "generalised Pareto gaps: heavier tails than Poisson"
    example = "gpareto:52700,shape=0.154971,for=10s"
    parameters = (SHAPE,)

    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        shape = given.need(SHAPE)
        return Renewal(self.name, rate_per_s, (shape,), partial(gaps, shape))


LAW = GPareto()
