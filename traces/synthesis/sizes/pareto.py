"""Pareto sizes: heavy tails above a least size. What would be above MOST is MOST; without one that is 512 MiB."""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64, uniform_all
from traces.errors import InvalidInput
from traces.quantities import parse_size
from traces.synthesis.sizes import MOST_BYTES, Floats, Sizes, figure, size_at_least_1


@dataclass(frozen=True)
class Pareto:
    least: float
    shape: float
    most: float = MOST_BYTES

    def drawn(self, key: int, ids: U64) -> Floats:
        drawn: Floats = np.minimum(self.least * (1 - uniform_all(key, ids)) ** (-1 / self.shape), self.most)
        return drawn


class ParetoLaw:
    name = "pareto"
    form = "pareto:LEAST:SHAPE[:MOST]"
    summary = "Pareto from LEAST on, cut at MOST (512MiB unless given)"
    example = "pareto:100:1.5:1MiB"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        if len(figures) not in (2, 3):
            return None
        least, shape = size_at_least_1(figures[0], where), figure(figures[1], where, 0.05, 1000)
        most = parse_size(figures[2], where) if len(figures) == 3 else MOST_BYTES
        if not least <= most <= MOST_BYTES:
            raise InvalidInput(f"{where}: cut at {most}; expected from {least} (the least size) to 512MiB")
        return Pareto(least, shape, most)


LAW = ParetoLaw()
