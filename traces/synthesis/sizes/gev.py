"""Generalised extreme value sizes: LOCATION + SCALE * ((-ln u)^-SHAPE - 1) / SHAPE; below 0 is 0, above 512 MiB is that."""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64, uniform_all
from traces.synthesis.sizes import Floats, Sizes, figure


@dataclass(frozen=True)
class Extreme:
    location: float
    scale: float
    shape: float

    def drawn(self, key: int, ids: U64) -> Floats:
        log = np.log(-np.log(uniform_all(key, ids)))
        drawn: Floats = self.location + self.scale * (np.expm1(-self.shape * log) / self.shape if self.shape else -log)
        return drawn


class Gev:
    name = "gev"
    form = "gev:LOCATION:SCALE:SHAPE"
    summary = "generalised extreme values"
    example = "gev:30.7984:8.20449:0.078688"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        if len(figures) != 3:
            return None
        return Extreme(figure(figures[0], where, 0, 1e9), figure(figures[1], where, 1e-3, 1e9), figure(figures[2], where, -5, 5))


LAW = Gev()
