"""gamma: gaps after the gamma law, by its quantiles; above variation 1 the law of most bursty services (ServeGen, arXiv 2505.09999)."""

from functools import partial

from traces.synthesis.arrivals import Arrivals, Floats
from traces.synthesis.arrivals.renewal import Renewal
from traces.synthesis.spec import Given, Parameter, number

CV = Parameter("cv", number(0.01, 100), "coefficient of variation of the gaps", "4")


def gaps(shape: float, u: Floats) -> Floats:
    from scipy.special import gammaincinv  # slow to import, and most traces need none of it

    drawn: Floats = gammaincinv(shape, u) / shape
    return drawn


class Gamma:
    name = "gamma"
    summary = "gamma gaps of a given variation: 1 is Poisson, above it bursts, below it more even"
    example = "gamma:5000,cv=4,for=60s"
    parameters = (CV,)

    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        cv = given.need(CV)
        return Renewal(self.name, rate_per_s, (cv,), partial(gaps, cv**-2))


LAW = Gamma()
