"""A size that is always the same."""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64
from traces.quantities import parse_size
from traces.synthesis.sizes import MOST_BYTES, Floats, Sizes


@dataclass(frozen=True)
class Same:
    size: float

    def drawn(self, key: int, ids: U64) -> Floats:
        return np.full(len(ids), float(self.size))


class Constant:
    name = "constant"
    form = "64 (or another size)"
    summary = "always the same size; written as the size alone"
    example = "4KiB"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        size = parse_size(figures[0], where) if len(figures) == 1 else MOST_BYTES + 1
        return Same(size) if size <= MOST_BYTES else None


LAW = Constant()
