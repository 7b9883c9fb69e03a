"""Which record a YCSB operation asks for: YCSB's own generators, many draws at once, each depending on its number alone.

Zipfian numbers after Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994, with YCSB's exponent of 0.99;
scrambled ones by its FNV-1a over 10^10 items. What YCSB draws again because the record is not there yet is drawn again here.
"""

import math

import numpy as np
import numpy.typing as npt

from traces.draws import U64, stream, uniform_all
from traces.ycsb.workload import Workload

THETA = 0.99
_ALPHA = 1 / (1 - THETA)
_ITEMS = 10_000_000_000
_ZETA_OF_ITEMS = 26.46902820178302
"""YCSB's constants of the scrambled generator; it draws from one item more."""
_EXACT = 10_000
_ROUNDS = 200
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def zeta(counts: Ints) -> Floats:
    """Sum of i^-0.99 for i from 1 to each count: exact up to ten thousand, beyond by Euler and Maclaurin, to twelve digits."""
    ladder = np.cumsum(np.arange(1, _EXACT + 1, dtype=np.float64) ** -THETA)
    n, m = np.maximum(counts, 1).astype(np.float64), float(_EXACT)
    tail = (n ** (1 - THETA) - m ** (1 - THETA)) / (1 - THETA) + (n**-THETA - m**-THETA) / 2
    tail -= THETA / 12 * (n ** (-THETA - 1) - m ** (-THETA - 1))
    result: Floats = np.where(counts <= _EXACT, ladder[np.clip(counts, 1, _EXACT) - 1], ladder[-1] + tail)
    return result


def zipfian(u: Floats, items: Ints, zetan: Floats, items_at_start: int) -> Ints:
    """Ranks from 0, the most popular first."""
    eta = (1 - (2.0 / max(1, items_at_start)) ** (1 - THETA)) / (1 - (1 + 0.5**THETA) / np.maximum(zetan, 1.6))
    rank = np.floor(items * np.maximum(eta * u - eta + 1, 0.0) ** _ALPHA).astype(np.int64)
    scaled = u * zetan
    result: Ints = np.where(scaled < 1, 0, np.where(scaled < 1 + 0.5**THETA, 1, np.minimum(rank, items - 1)))
    return result


def zipfian_between(u: Floats, low: int, high: int) -> Ints:
    """Numbers from `low` to `high`, both included, low ones the most likely."""
    items = np.full(len(u), high - low + 1, dtype=np.int64)
    return np.minimum(low + zipfian(u, items, zeta(items), high - low + 1), high)


def fnv(values: Ints) -> Ints:
    """YCSB's hash of a number: FNV-1a of its eight bytes, lowest first, made positive."""
    result = np.full(len(values), 0xCBF29CE484222325, dtype=np.uint64)
    rest = values.astype(np.uint64)
    for _ in range(8):
        result = (result ^ (rest & np.uint64(0xFF))) * np.uint64(1099511628211)
        rest = rest >> np.uint64(8)
    signed = np.abs(result.view(np.int64))
    positive: Ints = np.where(signed < 0, 0, signed)
    return positive


def chosen(workload: Workload, seed: int, index: U64, last: Ints) -> Ints:
    """The record of each operation (`index` from 0) when records up to `last` are there."""
    found = np.zeros(len(index), dtype=np.int64)
    open_ = np.arange(len(index))
    for attempt in range(_ROUNDS):
        drawn = _drawn(workload, seed, attempt, index[open_], last[open_])
        found[open_] = drawn
        open_ = open_[(drawn < 0) | (drawn > last[open_])]
        if not len(open_):
            return found
    found[open_] = np.abs(found[open_]) % (last[open_] + 1)  # of very few records among very many to come
    return found


def _drawn(workload: Workload, seed: int, attempt: int, index: U64, last: Ints) -> Ints:
    u = uniform_all(stream(seed, "ycsb", f"key{attempt}"), index)
    start, count = workload.insert_start, workload.insert_count
    if workload.distribution == "uniform":
        return start + (u * count).astype(np.int64)
    if workload.distribution == "sequential":
        turn: Ints = ((index + np.uint64(attempt)) % np.uint64(count)).astype(np.int64)
        return start + turn
    if workload.distribution == "zipfian":
        items: Ints = np.full(len(u), _ITEMS + 1, dtype=np.int64)
        rank = zipfian(u, items, np.full(len(u), _ZETA_OF_ITEMS), _ITEMS + 1)
        expected_new = int(workload.operations * workload.insert_share * 2.0)  # the factor is YCSB's
        return start + fnv(rank) % (count + expected_new + 1)
    if workload.distribution == "latest":
        newest_first: Ints = last - zipfian(u, last, zeta(last), workload.records - 1)
        return newest_first.clip(0)
    if workload.distribution == "exponential":
        gamma = -math.log(1 - workload.percentile / 100) / max(workload.records * workload.fraction, 1e-9)
        far = np.minimum(-np.log(u) / max(gamma, 1e-300), 2.0**62)
        return last - far.astype(np.int64)
    hot = int(count * workload.hot_data)
    v = uniform_all(stream(seed, "ycsb", f"spot{attempt}"), index)
    in_hot = (v < workload.hot_operations) if hot else np.zeros(len(v), dtype=np.bool_)
    in_hot |= hot == count
    return start + np.where(in_hot, (u * hot).astype(np.int64), hot + (u * (count - hot)).astype(np.int64))
