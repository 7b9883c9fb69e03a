"""Renewal laws of gaps by their likelihood: Poisson, gamma, Weibull, generalised Pareto, each with the mean of the data and one shape.

Gaps below the resolution of the stamps count as that: below it. Otherwise a law with many tiny gaps would be judged by the clock.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import special
from scipy.optimize import minimize_scalar

from traces.fit.candidate import Candidate
from traces.fit.sample import Floats, significant
from traces.synthesis.arrivals.weibull import cv_of, shape_of

_Likelihood = Callable[[float], float]


def renewals(times: Floats, resolution_s: float) -> list[Candidate]:
    """Times ascending, in seconds."""
    gaps = np.diff(times)
    mean = float(gaps.mean())
    if mean <= 0:
        return []
    seen = gaps[gaps >= resolution_s]
    below, rate, count = len(gaps) - len(seen), significant(1 / mean), len(gaps)
    logs, total = np.log(seen), float(seen.sum())
    log_sum = float(logs.sum())

    def gamma(log_shape: float) -> float:
        shape = math.exp(log_shape)
        scale = mean / shape
        dense = (shape - 1) * log_sum - total / scale - len(seen) * (math.lgamma(shape) + shape * math.log(scale))
        return dense + below * math.log(max(float(special.gammainc(shape, resolution_s / scale)), 1e-300))

    def weibull(log_shape: float) -> float:
        shape = math.exp(log_shape)
        scale = mean / math.gamma(1 + 1 / shape)
        powers = np.exp(shape * (logs - math.log(scale)))
        dense = len(seen) * (math.log(shape) - shape * math.log(scale)) + (shape - 1) * log_sum - float(powers.sum())
        return dense + below * math.log(max(-math.expm1(-((resolution_s / scale) ** shape)), 1e-300))

    def gpareto(shape: float) -> float:
        scale = mean * (1 - shape)
        dense = -len(seen) * math.log(scale) - (1 + 1 / shape) * float(np.log1p(shape / scale * seen).sum())
        return dense + below * math.log(max(-math.expm1(-math.log1p(shape / scale * resolution_s) / shape), 1e-300))

    poisson = -len(seen) * math.log(mean) - total / mean + below * math.log(max(-math.expm1(-resolution_s / mean), 1e-300))
    found = [Candidate("poisson", f"poisson:{rate}", poisson, 1, count)]
    log_shape, likely = _highest(gamma, math.log(1e-4), math.log(1e4))
    found.append(Candidate("gamma", f"gamma:{rate},cv={significant(math.exp(-log_shape / 2))}", likely, 2, count))
    log_shape, likely = _highest(weibull, math.log(shape_of(99)), math.log(100))
    found.append(Candidate("weibull", f"weibull:{rate},cv={significant(cv_of(math.exp(log_shape)))}", likely, 2, count))
    shape, likely = _highest(gpareto, 1e-3, 0.95)
    found.append(Candidate("gpareto", f"gpareto:{rate},shape={significant(shape)}", likely, 2, count))
    return found


def _highest(likelihood: _Likelihood, low: float, high: float) -> tuple[float, float]:
    found = minimize_scalar(lambda x: -likelihood(float(x)), bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    return float(found.x), -float(found.fun)
