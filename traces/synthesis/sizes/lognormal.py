"""Lognormal sizes by their mean and the deviation of their logarithm."""

import math
from dataclasses import dataclass

import numpy as np

from traces.draws import U64, uniform_all
from traces.synthesis.sizes import Floats, Sizes, figure, size_at_least_1


def standard_normal(key: int, ids: U64) -> Floats:
    """Box and Muller, the cosine alone."""
    u = uniform_all(key, ids)
    normal: Floats = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * uniform_all(key ^ 1, ids))
    return normal


@dataclass(frozen=True)
class Lognormal:
    mean: float
    sigma: float

    def drawn(self, key: int, ids: U64) -> Floats:
        # A mean a of the lognormal is ln(a) - sigma^2/2 of the normal.
        drawn: Floats = np.exp(math.log(self.mean) - self.sigma**2 / 2 + self.sigma * standard_normal(key, ids))
        return drawn


class LognormalLaw:
    name = "lognormal"
    form = "lognormal:MEAN:SIGMA"
    summary = "lognormal; SIGMA is the standard deviation of the natural logarithm"
    example = "lognormal:300:1.2"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        if len(figures) != 2:
            return None
        return Lognormal(size_at_least_1(figures[0], where), figure(figures[1], where, 0, 10))


LAW = LognormalLaw()
