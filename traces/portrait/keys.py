"""How often each key comes, in bounded memory: exact up to 2^21 keys; beyond, exact counts of a spatial sample of the keys (those
whose hash is small; Waldspurger et al., FAST 2015), and beside it the keys that come most.

A sampled share of the keys is right within about 1 / sqrt(2^20) = 0.1 %. Of the 65,536 keys that came most, counts are too small by at
most `missed` (Misra and Gries 1982, as merged by Agarwal et al. 2012); only those for which that is less than 5 % are taken from there.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.draws import U64, mix_all
from traces.portrait.bins import Floats, Ints

MOST_KEYS = 1 << 21
HEAVY = 1 << 16
_LOT = 1 << 18
_TOLD = 20
"""A heavy key's count is used where it is this many times what may be missing of it."""


@dataclass(frozen=True)
class Ranked:
    """Counts of keys from the largest on; `weights` says how many keys each stands for (1 where all keys are held)."""

    counts: Ints
    weights: Floats

    @property
    def exact(self) -> bool:
        return bool((self.weights == 1).all())

    @property
    def unique(self) -> float:
        return float(self.weights.sum())

    @property
    def requests(self) -> float:
        return float(self.counts @ self.weights)

    def ranks(self) -> Floats:
        """The middle rank of those that each count stands for, from 1."""
        upto: Floats = np.cumsum(self.weights)
        return upto - self.weights / 2 + 0.5


class KeyCounts:
    """Add keys in any lots; read `ranked`."""

    def __init__(self, most: int = MOST_KEYS, heavy: int = HEAVY) -> None:
        self._most, self._heavy_most = most, heavy
        self._waiting: list[U64] = []
        self._count_waiting = 0
        self._keys: U64 = np.empty(0, np.uint64)
        self._counts: Ints = np.empty(0, np.int64)
        self._halvings = 0
        self._heavy: tuple[U64, Ints] | None = None
        self.missed = 0

    def add(self, keys: npt.NDArray[np.unsignedinteger]) -> None:
        self._waiting.append(keys.astype(np.uint64))
        self._count_waiting += len(keys)
        if self._count_waiting > max(len(self._keys), _LOT):
            self._take_in()

    def _take_in(self) -> None:
        if not self._waiting:
            return
        keys, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._count_waiting = [], 0
        counts = counts.astype(np.int64)
        if self._heavy is not None:
            self._heavy = self._largest(*_added(*self._heavy, keys, counts))
            kept = self._sampled(keys)
            keys, counts = keys[kept], counts[kept]
        self._keys, self._counts = _added(self._keys, self._counts, keys, counts)
        while len(self._keys) > self._most:
            if self._heavy is None:
                self._heavy = self._largest(self._keys, self._counts)
            self._halvings += 1
            kept = self._sampled(self._keys)
            self._keys, self._counts = self._keys[kept], self._counts[kept]

    def _sampled(self, keys: U64) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = mix_all(keys) >> np.uint64(64 - self._halvings) == 0
        return found

    def _largest(self, keys: U64, counts: Ints) -> tuple[U64, Ints]:
        if len(keys) <= self._heavy_most:
            return keys, counts
        order = np.argpartition(counts, len(counts) - self._heavy_most)
        left_out, kept = order[: len(counts) - self._heavy_most], np.sort(order[len(counts) - self._heavy_most :])
        self.missed += int(counts[left_out].max())
        return keys[kept], counts[kept]

    def ranked(self) -> Ranked:
        self._take_in()
        if self._heavy is None:
            return Ranked(np.sort(self._counts)[::-1], np.ones(len(self._counts)))
        keys, counts = self._heavy
        sure = counts >= _TOLD * max(1, self.missed)
        rest = self._counts[~np.isin(self._keys, keys[sure], assume_unique=True)]
        every = np.concatenate((counts[sure], rest))
        weights = np.concatenate((np.ones(int(sure.sum())), np.full(len(rest), 2.0**self._halvings)))
        order = np.argsort(-every, kind="stable")
        return Ranked(every[order], weights[order])


def _added(keys: U64, counts: Ints, more: U64, their: Ints) -> tuple[U64, Ints]:
    """Two sorted lists of keys with their counts as one."""
    if not len(keys):
        return more, their
    both = np.concatenate((keys, more))
    order = np.argsort(both, kind="stable")
    both, summed = both[order], np.concatenate((counts, their))[order]
    first = np.flatnonzero(np.concatenate(([True], both[1:] != both[:-1])))
    return both[first], np.add.reduceat(summed, first)
