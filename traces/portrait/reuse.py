"""How many other keys come between two requests of one key, and how much time: stack distances (Mattson et al. 1970) of a fixed number of
sampled keys (SHARDS with its adjustment, Waldspurger et al., FAST 2015), in constant memory.

Exact while there are at most 16,384 keys; beyond, distances come from a share R of the keys and are divided by R, which errs by about
1 / sqrt(16,384) = 0.8 % of the keys. Distances are counted in lots by a stable partition of bits, because a tree in Python is too slow.
"""

import numpy as np
import numpy.typing as npt

from traces.draws import U64, mix_all
from traces.portrait.bins import Binned, Bins, Ints

MOST_KEYS = 1 << 14
_LOT = 1 << 16
_ALL = 1 << 64
_SALT = np.uint64(0x5EED0F5A3D1E5)


class Reuse:
    """Add keys with arrival times and row numbers, in order; read the rest."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._below = _ALL
        self._stack: U64 = np.empty(0, np.uint64)  # from the key used longest ago to the latest
        self._used_ns: Ints = np.empty(0, np.int64)
        self._waiting: list[tuple[U64, Ints, Ints]] = []
        self._count_waiting = 0
        self._distances, self._times = Binned(), Binned()
        self._seen = 0
        self._first = 0.0
        self._again = 0.0

    @property
    def share(self) -> float:
        """R, the share of the keys that is followed."""
        return self._below / _ALL

    def add(self, keys: npt.NDArray[np.unsignedinteger], arrival_ns: Ints, rows: Ints) -> None:
        self._seen += len(keys)
        ids = keys.astype(np.uint64)
        if self._below < _ALL:
            kept = np.flatnonzero(mix_all(ids ^ _SALT) < np.uint64(self._below))
            ids, arrival_ns, rows = ids[kept], arrival_ns[kept], rows[kept]
        self._waiting.append((ids, arrival_ns, rows))
        self._count_waiting += len(ids)
        if self._count_waiting >= _LOT:
            self._take_in()

    def _take_in(self) -> None:
        if not self._count_waiting:
            self._waiting = []
            return
        new, arrival_ns, rows = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        self._waiting, self._count_waiting = [], 0
        held = len(self._stack)
        keys = np.concatenate((self._stack, new))
        times = np.concatenate((self._used_ns, arrival_ns))
        before, last = _occurrences(keys)
        mine = before[held:]
        again = np.flatnonzero(mine >= 0)
        distance = distances(before)[held:][again]
        self._distances.add(distance / self.share, rows[again])
        self._times.add(arrival_ns[again] - times[mine[again]], rows[again])
        self._again += len(again)
        self._first += len(mine) - len(again)
        self._stack, self._used_ns = keys[last], times[last]
        if len(self._stack) > self._most:
            self._follow_fewer()

    def _follow_fewer(self) -> None:
        hashes = mix_all(self._stack ^ _SALT)
        below = int(np.partition(hashes, self._most)[self._most])
        kept = hashes < np.uint64(below)
        self._stack, self._used_ns = self._stack[kept], self._used_ns[kept]
        factor = below / self._below
        self._below = below
        self._first *= factor
        self._again *= factor
        self._distances.weaken(factor)
        self._times.weaken(factor)

    def distances(self) -> Bins | None:
        """Other keys between a request and the last of the same key; first requests are left out."""
        self._take_in()
        return self._distances.bins()

    def times(self) -> Bins | None:
        """Nanoseconds from one request of a key to its next."""
        self._take_in()
        return self._times.bins()

    def first_share(self) -> float:
        """The share of requests that are the first of their key: what misses in a cache of any size. Adjusted: the requests that the sample
        has too few or too many of, because hot keys are in it or not, are taken as reuse (SHARDS-adj).
        """
        self._take_in()
        expected = self._seen * self.share
        return min(1.0, self._first / expected) if expected else 0.0

    def hit_ratio(self, cache_keys: float) -> float:
        """Of a cache that holds so many keys and drops the one used longest ago."""
        bins = self.distances()
        expected = self._seen * self.share
        if bins is None or not expected:
            return 0.0
        surplus = expected - self._first - self._again
        return min(1.0, max(0.0, (bins.share_below(cache_keys - 1) * self._again + surplus) / expected)) if cache_keys >= 1 else 0.0


def _occurrences(keys: U64) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where each key came before (-1: nowhere), and whether it does not come again."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    before = np.full(len(keys), -1, dtype=np.int64)
    before[order[1:][same]] = order[:-1][same]
    last = np.ones(len(keys), dtype=np.bool_)
    last[order[:-1][same]] = False
    return before, last


def distances(before: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Stack distances out of previous occurrences; meaningless where there is none.

    Distinct keys since then = accesses j in between with before[j] < before[i] = #{j < i: before[j] < before[i]} - (before[i] + 1).
    """
    count = len(before)
    never = before < 0
    marked = np.zeros(count, dtype=np.int64)
    marked[before[~never]] = 1
    rank = np.empty(count, dtype=np.int64)
    first = int(never.sum())
    rank[never] = np.arange(first)
    rank[~never] = first + np.cumsum(marked)[before[~never]] - 1
    return _smaller_before(rank)[rank] - before - 1


def _smaller_before(ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each rank of a permutation of 0 to n - 1: how many smaller ones stand before it. A wavelet tree, level by level."""
    count = len(ranks)
    found = np.zeros(count, dtype=np.int64)
    here, places = ranks, np.arange(count)
    for bit in reversed(range(max(1, count - 1).bit_length())):
        ones = (here >> bit) & 1
        start = (here >> (bit + 1)) << (bit + 1)  # ranks are a permutation, so a group begins where its least rank would stand
        zeros_upto = np.concatenate(([0], np.cumsum(1 - ones)))
        zeros_before = zeros_upto[places] - zeros_upto[start]
        is_one = ones.astype(np.bool_)
        found[here[is_one]] += zeros_before[is_one]
        zeros = np.minimum(1 << bit, count - start)
        moved = np.empty(count, dtype=np.int64)
        moved[start + np.where(is_one, zeros + places - start - zeros_before, zeros_before)] = here
        here = moved
    return found
