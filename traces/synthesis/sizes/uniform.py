"""Sizes from LOW to HIGH, both included, each as likely."""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64, uniform_all
from traces.quantities import parse_size
from traces.synthesis.sizes import MOST_BYTES, Floats, Sizes


@dataclass(frozen=True)
class Between:
    low: int
    high: int

    def drawn(self, key: int, ids: U64) -> Floats:
        drawn: Floats = self.low + np.floor(uniform_all(key, ids) * (self.high - self.low + 1))
        return drawn


class Uniform:
    name = "uniform"
    form = "uniform:LOW:HIGH"
    summary = "each size from LOW to HIGH as likely"
    example = "uniform:64:1KiB"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        if len(figures) != 2:
            return None
        low, high = (parse_size(text, where) for text in figures)
        return Between(low, high) if low <= high <= MOST_BYTES else None


LAW = Uniform()
