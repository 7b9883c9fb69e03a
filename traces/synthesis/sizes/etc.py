"""Value sizes of Facebook's ETC pool (Atikoglu et al., SIGMETRICS 2012): sizes of 0 to 14 bytes have the shares of the paper's table, which
are 44.155 % of all; larger ones follow its generalised Pareto law from 15 bytes on.
"""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64, uniform_all
from traces.synthesis.sizes import Floats, Sizes
from traces.synthesis.sizes.gpareto import quantile

HEAD = (
    0.00536, 0.00047, 0.17820, 0.09239, 0.00018, 0.02740, 0.00065, 0.00606, 0.00023, 0.00837, 0.00837, 0.08989, 0.00092, 0.00326, 0.01980,
)  # fmt: skip
SCALE, SHAPE = 214.476, 0.348238


@dataclass(frozen=True)
class EtcValues:
    def drawn(self, key: int, ids: U64) -> Floats:
        ladder = np.cumsum(HEAD)
        u = uniform_all(key, ids)
        small = np.searchsorted(ladder, u, side="right").astype(np.float64)
        rest = np.clip((u - ladder[-1]) / (1 - ladder[-1]), 0.0, 1 - 2.0**-53)
        drawn: Floats = np.where(u < ladder[-1], small, np.floor(len(HEAD) + quantile(rest, SCALE, SHAPE)))
        return drawn


class EtcLaw:
    name = "etc"
    form = "etc"
    summary = "values of Facebook's ETC pool: the published shares of 0 to 14 bytes, generalised Pareto above"
    example = "etc"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        return EtcValues() if not figures else None


LAW = EtcLaw()
