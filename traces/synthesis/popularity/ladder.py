"""zipf by a table: the exact inverse of the cumulative popularity, one draw a request, 8 bytes of memory a key."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from traces.draws import U64, uniform_all
from traces.synthesis.popularity import Ints

MOST_KEYS = 50_000_000


@lru_cache(maxsize=4)
def cumulative(keys: int, exponent: float) -> npt.NDArray[np.float64]:
    """Share of requests of the ranks up to each."""
    ladder: npt.NDArray[np.float64] = np.cumsum(np.arange(1, keys + 1, dtype=np.float64) ** -exponent)
    ladder /= ladder[-1]
    return ladder


@dataclass(frozen=True)
class Ladder:
    key_space: int
    exponent: float
    inserts = False

    def keys(self, key: int, seq: U64, there: Ints) -> U64:
        rank = np.searchsorted(cumulative(self.key_space, self.exponent), uniform_all(key, seq))
        return np.minimum(rank, self.key_space - 1).astype(np.uint64)
