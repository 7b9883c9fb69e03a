"""How many other keys come between two requests of one key, and how much time: stack distances (Mattson et al. 1970) in constant memory.

Distances below 16,384 keys are exact, because a stack of that many keys is kept whole. Longer ones come from the keys whose hash is small,
as many as fit (SHARDS, Waldspurger et al., FAST 2015), and are divided by the share R of the keys that these are; with 16,384 of them that
errs by about 1 / sqrt(16,384) = 0.8 %. So a hot key, which a sample of keys may miss, is never missed. All is exact while there are at most
16,384 keys. Distances are counted in lots by a stable partition of bits, because a tree in Python is too slow.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.draws import U64, mix_all
from traces.portrait.bins import Binned, Bins, Ints

MOST_KEYS = 1 << 14
_LOT = 1 << 16
_ALL = 1 << 64
_SALT = np.uint64(0x5EED0F5A3D1E5)


@dataclass(frozen=True)
class _Again:
    """Requests of keys that came before: other keys in between, time in between, number of the row."""

    distance: Ints
    time_ns: Ints
    rows: Ints

    def only(self, which: npt.NDArray[np.bool_]) -> "_Again":
        return _Again(self.distance[which], self.time_ns[which], self.rows[which])


class _Stack:
    """Keys from the one used longest ago to the latest."""

    def __init__(self) -> None:
        self.keys: U64 = np.empty(0, np.uint64)
        self._used_ns: Ints = np.empty(0, np.int64)

    def take(self, new: U64, arrival_ns: Ints, rows: Ints) -> _Again:
        held = len(self.keys)
        keys = np.concatenate((self.keys, new))
        times = np.concatenate((self._used_ns, arrival_ns))
        before, last = _occurrences(keys)
        mine = before[held:]
        again = np.flatnonzero(mine >= 0)
        found = _Again(distances(before)[held:][again], arrival_ns[again] - times[mine[again]], rows[again])
        self.keys, self._used_ns = keys[last], times[last]
        return found

    def keep(self, which: npt.NDArray[np.bool_] | slice) -> None:
        self.keys, self._used_ns = self.keys[which], self._used_ns[which]

    def copy(self) -> "_Stack":
        made = _Stack()
        made.keys, made._used_ns = self.keys, self._used_ns
        return made


class Reuse:
    """Add keys with arrival times and row numbers, in order; read the rest."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._near = _Stack()
        self._far: _Stack | None = None
        self._below = _ALL
        self._waiting: list[tuple[U64, Ints, Ints]] = []
        self._count_waiting = 0
        self._distances, self._times = Binned(), Binned()
        self._seen = 0
        self._first = 0.0
        self._near_count = 0

    @property
    def share(self) -> float:
        """R, the share of the keys from which distances beyond `exact_below` are taken."""
        return self._below / _ALL

    @property
    def exact_below(self) -> int:
        return self._most

    def add(self, keys: npt.NDArray[np.unsignedinteger], arrival_ns: Ints, rows: Ints) -> None:
        self._seen += len(keys)
        self._waiting.append((keys.astype(np.uint64), arrival_ns, rows))
        self._count_waiting += len(keys)
        if self._count_waiting >= _LOT:
            self._take_in()

    def _take_in(self) -> None:
        if not self._count_waiting:
            return
        keys, arrival_ns, rows = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        self._waiting, self._count_waiting = [], 0
        again = self._near.take(keys, arrival_ns, rows)
        near = again.distance < self._most
        self._near_count += int(near.sum())
        self._count(again.only(near), 1.0)
        if self._far is None:
            self._first += len(keys) - len(again.rows)
            self._count(again.only(~near), 1.0)
            if len(self._near.keys) > self._most:
                self._far = self._near.copy()
        else:
            kept = np.flatnonzero(mix_all(keys ^ _SALT) < np.uint64(self._below))
            again = self._far.take(keys[kept], arrival_ns[kept], rows[kept])
            self._first += (len(kept) - len(again.rows)) / self.share
            self._count(again.only(again.distance >= self._most * self.share), 1 / self.share)
        self._near.keep(slice(-self._most, None))
        if self._far is not None and len(self._far.keys) > self._most:
            hashes = mix_all(self._far.keys ^ _SALT)
            self._below = int(np.partition(hashes, self._most)[self._most])
            self._far.keep(hashes < np.uint64(self._below))

    def _count(self, again: _Again, weight: float) -> None:
        """`weight` requests for each: what one key that is followed stands for."""
        self._distances.add(again.distance * weight, again.rows, weight=weight)
        self._times.add(again.time_ns, again.rows, weight=weight)

    def distances(self) -> Bins | None:
        """Other keys between a request and the last of the same key; first requests are left out."""
        self._take_in()
        return self._distances.bins()

    def times(self) -> Bins | None:
        """Nanoseconds from one request of a key to its next."""
        self._take_in()
        return self._times.bins()

    def first_share(self) -> float:
        """The share of requests that are the first of their key: what misses in a cache of any size."""
        self._take_in()
        return min(1.0, self._first / self._seen) if self._seen else 0.0

    def hit_ratio(self, cache_keys: float) -> float:
        """Of a cache that holds so many keys and drops the one used longest ago. What is neither near nor a first request is far, so
        that the sample decides only how the far ones lie.
        """
        bins = self.distances()
        if bins is None or cache_keys < 1:
            return 0.0
        near = bins.high < self._most
        inside = bins.shares_below(cache_keys - 1) * bins.total
        far_held = float(bins.total[~near].sum())
        far = max(0.0, self._seen - self._first - self._near_count)
        hits = float(inside[near].sum()) + (float(inside[~near].sum()) * far / far_held if far_held else 0.0)
        return min(1.0, hits / self._seen)


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
