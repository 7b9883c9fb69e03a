"""Sizes after n + 1 quantiles written in the spec itself, the least first and the largest last.

They are of the shares 1 - (1 - i/n)^2, which lie close together where sizes are large and rare. Linear in the logarithm between them.
"""

from dataclasses import dataclass

import numpy as np

from traces.draws import U64, uniform_all
from traces.errors import InvalidInput
from traces.synthesis.sizes import MOST_BYTES, Floats, Sizes, figure

_MOST = 257


def shares_of(levels: int) -> Floats:
    """The shares of which the levels are the quantiles."""
    shares: Floats = 1 - (1 - np.linspace(0, 1, levels)) ** 2
    return shares


@dataclass(frozen=True)
class Levels:
    sizes: tuple[float, ...]

    def drawn(self, key: int, ids: U64) -> Floats:
        drawn: Floats = np.expm1(np.interp(uniform_all(key, ids), shares_of(len(self.sizes)), np.log1p(self.sizes)))
        return drawn


class QuantilesLaw:
    name = "quantiles"
    form = "quantiles:LEAST:...:LARGEST"
    summary = f"2 to {_MOST} quantiles of the shares 1 - (1 - i/n)^2, as trace fit writes them"
    example = "quantiles:1:20:150:900:4096"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        if not 2 <= len(figures) <= _MOST:
            return None
        levels = tuple(figure(text, where, 0, MOST_BYTES) for text in figures)
        if list(levels) != sorted(levels):
            raise InvalidInput(f"{where}: quantiles fall; expected each at least as large as the one before")
        return Levels(levels)


LAW = QuantilesLaw()
