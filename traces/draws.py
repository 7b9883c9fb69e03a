"""The integers behind every seeded choice: each draw depends only on seed, entity, slot and index, never on
what was drawn before, so any agent draws the same for any shard or window. All arithmetic is unsigned 64-bit
(SplitMix64).

Not for cryptography. The vectorised forms equal the scalar ones bit for bit.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
MASK = (1 << 64) - 1
GOLD = 0x9E3779B97F4A7C15
SPREAD_MODES = ("poisson", "equidistant", "start")


def mix(value: int) -> int:
    """SplitMix64's finaliser over value + GOLD."""
    z = (value + GOLD) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def mix_all(values: npt.NDArray[np.unsignedinteger]) -> U64:
    """`mix` of each; uint64 arithmetic of numpy arrays wraps silently, which is what is wanted."""
    z: U64 = values.astype(np.uint64) + np.uint64(GOLD)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def stream(seed: int, entity: str, purpose: str) -> int:
    """One 64-bit stream key for each seed, entity and purpose (at most 16 bytes)."""
    text = (seed & MASK).to_bytes(8, "little") + entity.encode()
    person = purpose.encode().ljust(16, b"\0")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=person).digest(), "little")


def key_of(text: str) -> int:
    """Identity of a key that is text: blake2b-64."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@lru_cache(maxsize=1 << 20)
def _key_of(text: str) -> int:
    return key_of(text)


def keys_of(texts: Sequence[str]) -> U64:
    """`key_of` of each; the dictionaries of a trace's columns hold the same texts in every batch."""
    return np.fromiter(map(_key_of, texts), dtype=np.uint64, count=len(texts))


def draw(key: int, slot: int, index: int) -> int:
    """The index-th 64-bit draw of a slot."""
    return mix(mix(key ^ ((slot * GOLD) & MASK)) ^ index)


def draw_all(key: "int | U64", slots: U64, indices: U64) -> U64:
    """`draw` of each; `key` may be one for each slot too."""
    return mix_all(mix_all(np.asarray(key, dtype=np.uint64) ^ (slots * np.uint64(GOLD))) ^ indices)


def uniform_all(key: int, indices: U64) -> npt.NDArray[np.float64]:
    """In (0, 1), both ends excluded, 53 bits, by index."""
    bits = mix_all(np.uint64(key) ^ mix_all(indices)) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def scale_all(draws: U64, width: int) -> U64:
    """(draw * width) >> 64 by 32-bit halves, because numpy has no 128-bit product. width < 2^63."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    d_hi, d_lo = draws >> half, draws & low
    w_hi, w_lo = np.uint64(width >> 32), np.uint64(width & 0xFFFFFFFF)
    cross = d_hi * w_lo + ((d_lo * w_lo) >> half)  # each below 2^64: (2^32-1)^2 + 2^32-1
    cross_low = (cross & low) + d_lo * w_hi
    result: U64 = d_hi * w_hi + (cross >> half) + (cross_low >> half)
    return result


def permuted(indices: U64, count: int, key: int) -> U64:
    """A seeded permutation of [0, count) at `indices`, each by itself: a Feistel network on the next power of
    four, walked again wherever it leads outside.
    """
    half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    out = indices.copy()
    todo = np.arange(len(out))
    while len(todo):
        value = out[todo]
        left, right = value >> half, value & low
        for round_ in range(4):
            left, right = (
                right,
                left ^ (mix_all(right ^ np.uint64((key + round_) & 0xFFFFFFFFFFFFFFFF)) & low),
            )
        out[todo] = (left << half) | right
        todo = todo[out[todo] >= np.uint64(count)]
    return out


def slot_offsets(key: "int | U64", slots: U64, indices: U64, counts: U64, slot_ns: int, mode: str) -> npt.NDArray[np.int64]:
    """Where in their slots events lie, in ns, not yet sorted: the indices[j]-th of counts[j] events of slots[j]. `key` may be one for all
    or one for each.
    """
    if mode == "poisson":  # independent and uniform: a Poisson process, given the count
        return scale_all(draw_all(key, slots, indices), slot_ns).astype(np.int64)
    if mode == "equidistant":  # the phase is fixed by the entity, so that entities do not line up
        keys = np.atleast_1d(np.asarray(key, dtype=np.uint64))
        zeros = np.zeros(len(keys), dtype=np.uint64)
        phase = scale_all(draw_all(keys, zeros, zeros), slot_ns)
        return ((phase + indices * np.uint64(slot_ns) // counts) % np.uint64(slot_ns)).astype(np.int64)
    if mode == "start":  # the synchronised worst case
        return np.zeros(len(slots), dtype=np.int64)
    raise ValueError(f"mode {mode!r} is not one of {', '.join(SPREAD_MODES)}")


def service_ns(seed: int, entity: str, index: int, points: Sequence[tuple[int, int]]) -> int:
    """Duration of the index-th call: inverse of the piecewise linear distribution through (ppm of
    probability, ns).
    """
    u_ppb = (draw(stream(seed, entity, "service"), index >> 20, index & 0xFFFFF) * 1_000_000_000) >> 64
    for (low_ppm, low_ns), (high_ppm, high_ns) in pairwise(points):
        if u_ppb <= high_ppm * 1000:
            return low_ns + ((high_ns - low_ns) * (u_ppb - low_ppm * 1000)) // ((high_ppm - low_ppm) * 1000)
    return points[-1][1]


def quantiles_all(
    keys: U64, indices: U64, ppm: Sequence[int], values: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """`service_ns` of each, and of any purpose: the indices[j]-th draw of keys[j] through the points (ppm[p], values[rows[j], p]).

    `ppm` ascends from 0 to 1,000,000; `values` of a row ascend from 0 or more.
    """
    draws = draw_all(keys, indices >> np.uint64(20), indices & np.uint64(0xFFFFF))
    u_ppb = scale_all(draws, 1_000_000_000).astype(np.int64)
    bounds = np.array(ppm, dtype=np.int64) * 1000
    at = np.searchsorted(bounds[1:], u_ppb, side="left")
    low, high = values[rows, at], values[rows, at + 1]
    width, into = bounds[at + 1] - bounds[at], u_ppb - bounds[at]
    # (high - low) * into may pass 2^63: whole widths and the rest apart give the same floor.
    whole, rest = np.divmod(high - low, width)
    result: npt.NDArray[np.int64] = low + whole * into + rest * into // width
    return result
