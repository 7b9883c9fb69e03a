"""zipf and Zipf-Mandelbrot without a table, for key spaces of any size and such as grow: rejection-inversion (W. Hoermann and G.
Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions", ACM TOMACS 6(3), 1996). Rank k has weight (q +
k)^-s.

Exact, not an approximation; of a hundred draws at most a few are made again, each by row number and attempt.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.draws import U64, stream, uniform_all
from traces.synthesis.popularity import Ints

Floats = npt.NDArray[np.float64]
_ROUNDS = 200


@dataclass(frozen=True)
class Rejection:
    key_space: int
    exponent: float
    q: float = 0.0
    inserts = False

    def keys(self, key: int, seq: U64, there: Ints) -> U64:
        return ranks(key, seq, np.full(len(seq), self.key_space, dtype=np.int64), self.exponent, self.q).astype(np.uint64)


def ranks(key: int, seq: U64, items: Ints, exponent: float, q: float = 0.0) -> Ints:
    """A rank from 0 to items - 1 for each row; `items`, at least 1, may differ from row to row."""
    found = np.zeros(len(seq), dtype=np.int64)
    open_ = np.arange(len(seq))
    first = np.array([1.0])
    lowest = _area(first + 0.5, exponent, q) - _weight(first, exponent, q)
    sure = 2.0 - _inverse(_area(first + 1.5, exponent, q) - _weight(first + 1, exponent, q), exponent, q)
    for attempt in range(_ROUNDS):
        most = items[open_].astype(np.float64)
        highest = _area(most + 0.5, exponent, q)
        u = highest + uniform_all(key if not attempt else stream(key, "again", str(attempt)), seq[open_]) * (lowest - highest)
        x = _inverse(u, exponent, q)
        k = np.clip(np.floor(x + 0.5), 1.0, most)
        taken = (k - x <= sure) | (u >= _area(k + 0.5, exponent, q) - _weight(k, exponent, q))
        found[open_[taken]] = k[taken].astype(np.int64) - 1
        open_ = open_[~taken]
        if not len(open_):
            return found
    raise AssertionError(f"rejection-inversion of exponent {exponent}, q {q} does not end")


def _weight(x: Floats, exponent: float, q: float) -> Floats:
    weight: Floats = (q + x) ** -exponent
    return weight


def _area(x: Floats, exponent: float, q: float) -> Floats:
    """Integral of the weight, up to a constant."""
    log = np.log(q + x)
    area: Floats = log if abs(1 - exponent) < 1e-9 else np.expm1((1 - exponent) * log) / (1 - exponent)
    return area


def _inverse(area: Floats, exponent: float, q: float) -> Floats:
    if abs(1 - exponent) < 1e-9:
        x: Floats = np.exp(area) - q
    else:
        x = np.exp(np.log1p(np.maximum(area * (1 - exponent), -1 + 1e-15)) / (1 - exponent)) - q
    return x
