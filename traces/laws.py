"""How far two laws of one figure lie apart, and how far two halves of one of them do by chance.

Three measures, all from 0 (the same) to 1, all symmetric:

- Wasserstein's distance of order 1 over the sum of the two means: the work of moving one law onto the other, as a share of the most that it
  could be for values that are not negative. A law scaled by f lies (f - 1) / (f + 1) away.
- Kolmogorov and Smirnov's: the largest difference between the two cumulative shares.
- Jensen and Shannon's, the root of the divergence in bits (Endres and Schindelin 2003), over at most 32 bins that hold equally much of the
  two together.

For words, which have no order, Wasserstein's is the total variation (every move costs the same) and there is no Kolmogorov and Smirnov's.
Knows nothing of traces.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

SPLITS = 40
_EQUAL_BINS = 32
_SAME = 5e-4
"""Values are told apart from 0.1 % on: what falls into one bin is known no better, and clocks round."""
_ZERO = 1e-6


@dataclass(frozen=True)
class Measures:
    """`ks` is None for words."""

    wasserstein: float
    ks: float | None
    js: float


@dataclass(frozen=True)
class Law:
    """`weights[k]` lies evenly between `low[k]` and `high[k]` (the same: all of it there); sorted, not overlapping, none negative.

    `halve` splits what the law was made of into two halves at random, each as a law; None where it cannot be split. `halve_objects`
    splits the objects behind the values (keys, say), for laws in which a few of them decide; None where there are none.
    """

    low: Floats
    high: Floats
    weights: Floats
    halve: "Callable[[np.random.Generator], tuple[Law, Law]] | None" = None
    halve_objects: "Callable[[np.random.Generator], tuple[Law, Law]] | None" = None

    def mean(self) -> float:
        return float(np.average((self.low + self.high) / 2, weights=self.weights))

    def quantile(self, q: float) -> float:
        upto = np.cumsum(self.weights)
        k = min(int(np.searchsorted(upto, q * upto[-1])), len(upto) - 1)
        inside = (q * upto[-1] - (upto[k] - self.weights[k])) / self.weights[k]
        return float(self.low[k] + (self.high[k] - self.low[k]) * min(1.0, max(0.0, inside)))

    def cumulative(self) -> tuple[Floats, Floats]:
        """Where the cumulative share bends, and what it is there; straight between."""
        used = self.weights > 0
        low = np.where(self.low[used] > 0, self.low[used] * (1 - _SAME), self.low[used] - _ZERO)
        high = self.high[used] * (1 + _SAME)
        low[1:] = np.maximum(low[1:], high[:-1])
        upto = np.cumsum(self.weights[used])
        upto /= upto[-1]
        return np.column_stack((low, high)).ravel(), np.column_stack((np.concatenate(([0.0], upto[:-1])), upto)).ravel()


@dataclass(frozen=True)
class Shares:
    """How often each word comes. `halve` as in Law."""

    words: tuple[str, ...]
    weights: Floats
    halve: "Callable[[np.random.Generator], tuple[Shares, Shares]] | None" = None


def law_of(low: Floats, high: Floats, by_stretch: Floats, by_group: Floats | None = None) -> Law:
    """A law out of weights[stretch, k]: halves are made of whole stretches, so that what follows each other stays together. `by_group` has
    the same weights parted by groups of objects.
    """

    def halving(parts: Floats) -> Callable[[np.random.Generator], tuple[Law, Law]]:
        def halve(rng: np.random.Generator) -> tuple[Law, Law]:
            one, other = _halves(parts, rng)
            return Law(low, high, one), Law(low, high, other)

        return halve

    return Law(
        low,
        high,
        by_stretch.sum(axis=0),
        halving(by_stretch) if len(by_stretch) > 1 else None,
        halving(by_group) if by_group is not None and len(by_group) > 1 else None,
    )


def shares_of(words: tuple[str, ...], by_stretch: Floats) -> Shares:
    """Likewise for words."""

    def halve(rng: np.random.Generator) -> tuple[Shares, Shares]:
        one, other = _halves(by_stretch, rng)
        return Shares(words, one), Shares(words, other)

    return Shares(words, by_stretch.sum(axis=0), halve if len(by_stretch) > 1 else None)


def _halves(by_stretch: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Of each two neighbours one goes here and one there, so that a slow course of the whole is not taken for chance."""
    pairs = len(by_stretch) // 2
    first = int(rng.integers(2)) if len(by_stretch) % 2 else 0  # an odd stretch, at either end, is in neither
    here = first + 2 * np.arange(pairs) + rng.integers(2, size=pairs)
    there = 2 * (first + 2 * np.arange(pairs)) + 1 - here
    return by_stretch[here].sum(axis=0), by_stretch[there].sum(axis=0)


def apart(a: Law, b: Law) -> Measures:
    """How far two laws lie apart."""
    (at_a, upto_a), (at_b, upto_b) = a.cumulative(), b.cumulative()
    at = np.union1d(at_a, at_b)
    mine = np.interp(at, at_a, upto_a, left=0, right=1)
    theirs = np.interp(at, at_b, upto_b, left=0, right=1)
    off = mine - theirs
    before, after = off[:-1], off[1:]
    wide = np.abs(before) + np.abs(after)
    crossing = before * after < 0
    area = np.where(crossing, (before**2 + after**2) / (2 * np.where(wide > 0, wide, 1)), wide / 2)
    means = a.mean() + b.mean()
    moved = float((area * np.diff(at)).sum()) / means if means > 0 else 0.0
    both = (mine + theirs) / 2
    edges = np.unique(np.interp(np.arange(1, _EQUAL_BINS) / _EQUAL_BINS, both, at))
    parts = (np.diff(np.interp(edges, at, each), prepend=0, append=1) for each in (mine, theirs))
    return Measures(min(1.0, moved), float(np.abs(off).max()), _jensen_shannon(*parts))


def apart_in_words(a: Shares, b: Shares) -> Measures:
    """Likewise for words."""
    words = sorted({*a.words, *b.words})
    p, q = (_over(words, each) for each in (a, b))
    return Measures(float(np.abs(p - q).sum() / 2), None, _jensen_shannon(p, q))


def _over(words: Sequence[str], shares: Shares) -> Floats:
    held = dict(zip(shares.words, (shares.weights / shares.weights.sum()).tolist(), strict=True))
    return np.array([held.get(word, 0.0) for word in words])


def _jensen_shannon(p: Floats, q: Floats) -> float:
    divergence = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return math.sqrt(min(1.0, max(0.0, divergence))) if not np.array_equal(p, q) else 0.0


def _entropy(p: Floats) -> float:
    held = p[p > 0]
    return float(-(held * np.log2(held)).sum())


def floor(a: Law, b: Law, same_objects: bool = False) -> Measures:
    """How far two samples as large as those behind `a` and `b` may lie apart when both have the same law: the most that halves of each
    lie apart in 40 random splits, scaled from halves to wholes (distances of samples fall with the root of their size).

    Chance lies in which objects there are too, unless both have the `same_objects`. Where one cannot be split, anything may be chance: 1.
    """
    return _together(*(_self_distance(law, [law.halve] if same_objects else [law.halve, law.halve_objects]) for law in (a, b)))


def floor_in_words(a: Shares, b: Shares) -> Measures:
    """Likewise for words."""
    return _together(*(_self_distance(shares, [shares.halve]) for shares in (a, b)))


def _self_distance(law: Law | Shares, ways: Sequence[Callable[[np.random.Generator], tuple[Any, Any]] | None]) -> Measures:
    words = isinstance(law, Shares)
    all_chance = Measures(1.0, None if words else 1.0, 1.0)
    rng = np.random.default_rng(0)
    found = []
    for halve in filter(None, ways):
        for _ in range(SPLITS):
            one, other = halve(rng)
            if not one.weights.any() or not other.weights.any():
                return all_chance
            found.append(apart_in_words(one, other) if words else apart(one, other))
    if not found:
        return all_chance
    ks = None if words else max(each.ks or 0.0 for each in found)
    return Measures(max(each.wasserstein for each in found), ks, max(each.js for each in found))


def _together(a: Measures, b: Measures) -> Measures:
    def scaled(x: float, y: float) -> float:
        return 1.0 if x == 1 or y == 1 else math.sqrt(x * x + y * y) / 2

    ks = None if a.ks is None or b.ks is None else scaled(a.ks, b.ks)
    return Measures(scaled(a.wasserstein, b.wasserstein), ks, scaled(a.js, b.js))
