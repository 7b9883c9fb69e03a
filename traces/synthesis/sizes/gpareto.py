"""Generalised Pareto sizes: LOCATION + SCALE * ((1 - u)^-SHAPE - 1) / SHAPE, cut at 512 MiB."""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64, uniform_all
from traces.synthesis.sizes import Floats, Sizes, figure


def quantile(u: Floats, scale: float, shape: float) -> Floats:
    """Of the law at location 0."""
    x: Floats = scale * (np.expm1(-shape * np.log1p(-u)) / shape if shape else -np.log1p(-u))
    return x


@dataclass(frozen=True)
class GPareto:
    scale: float
    shape: float
    location: float = 0.0

    def drawn(self, key: int, ids: U64) -> Floats:
        return self.location + quantile(uniform_all(key, ids), self.scale, self.shape)


class GParetoLaw:
    name = "gpareto"
    form = "gpareto:SCALE:SHAPE[:LOCATION]"
    summary = "generalised Pareto, from LOCATION (0) on"
    example = "gpareto:214.476:0.348238"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        if len(figures) not in (2, 3):
            return None
        scale, shape = figure(figures[0], where, 1e-3, 1e9), figure(figures[1], where, 0, 5)
        return GPareto(scale, shape, figure(figures[2], where, 0, 1e9) if len(figures) == 3 else 0.0)


LAW = GParetoLaw()
