"""poisson: independent exponential gaps, variation 1."""

from traces.synthesis.arrivals import Arrivals
from traces.synthesis.arrivals.renewal import Renewal, exponential
from traces.synthesis.spec import Given


class Poisson:
    name = "poisson"
    summary = "independent requests at a steady rate"
    example = "poisson:50000,for=10s"
    parameters = ()

    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        return Renewal(self.name, rate_per_s, (), exponential)


LAW = Poisson()
