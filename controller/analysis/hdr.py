"""HdrHistogram V2 in numpy: decode, merge exactly, ask for quantiles. Format: HdrHistogram's V2 encoding
(https://github.com/HdrHistogram/HdrHistogram, `encodeIntoByteBuffer`): a 40-byte big-endian header, then counts as ZigZag LEB128, where
a negative number stands for that many zeros.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

_COOKIE = 0x1C849303
_HEADER = struct.Struct(">iiiiqqd")
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Histogram:
    """Counts by bucket, for values in units of 1 with the bucket layout of `digits` significant digits."""

    digits: int
    counts: Counts

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def __add__(self, other: "Histogram") -> "Histogram":
        """Exact: counts add. Both must have the same precision."""
        if self.digits != other.digits:
            raise ValueError(f"histograms of {self.digits} and {other.digits} digits cannot be added")
        short, long = sorted((self.counts, other.counts), key=len)
        merged = long.copy()
        merged[: len(short)] += short
        return Histogram(self.digits, merged)

    def quantile(self, q: float) -> int | None:
        """The highest value that is equivalent to the one at rank ceil(q n); None for an empty histogram."""
        n = self.total
        if n == 0:
            return None
        rank = max(1, int(np.ceil(q * n - 1e-9)))
        index = int(np.searchsorted(np.cumsum(self.counts), rank))
        return int(_highest(np.array([min(index, len(self.counts) - 1)]), self.digits)[0])

    def share_at_or_below(self, value: float) -> float:
        """Share of recorded values whose bucket ends at or below `value`."""
        n = self.total
        if n == 0:
            return 0.0
        tops = _highest(np.arange(len(self.counts)), self.digits)
        return float(self.counts[tops <= value].sum() / n)

    def curve(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """(quantile reached, value) at each bucket in use: the distribution as a line."""
        used = np.flatnonzero(self.counts)
        reached = np.cumsum(self.counts[used]) / max(1, self.total)
        return reached, _highest(used, self.digits)


def empty(digits: int = 3) -> Histogram:
    return Histogram(digits, np.zeros(0, np.int64))


def merged(parts: Iterable[Histogram]) -> Histogram:
    return reduce(lambda a, b: a + b, parts, empty())


def decode(raw: bytes) -> Histogram:
    """Raises ValueError for anything that is not an uncompressed V2 histogram in units of 1."""
    if len(raw) < _HEADER.size:
        raise ValueError("not a histogram: too short")
    cookie, length, offset, digits, low, _, _ = _HEADER.unpack_from(raw)
    if cookie & ~0xF0 != _COOKIE & ~0xF0 or offset != 0 or low != 1 or not 0 < digits <= 5:
        raise ValueError(f"not an HdrHistogram V2 in units of 1 (cookie {cookie:#x})")
    payload = np.frombuffer(raw, np.uint8, count=length, offset=_HEADER.size)
    return Histogram(digits, _counts(payload))


def _counts(payload: npt.NDArray[np.uint8]) -> Counts:
    """ZigZag LEB128 without a loop over bytes: words end where the top bit is clear (or at the ninth byte)."""
    if not len(payload):
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(payload < 128)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts).max(initial=0) > 8 or ends[-1] != len(payload) - 1:
        raise ValueError("damaged histogram: a count does not end")
    at = np.arange(len(payload)) - np.repeat(starts, ends - starts + 1)
    bits = (payload & 127).astype(np.uint64) << (7 * at).astype(np.uint64)
    words = np.add.reduceat(bits, starts)
    values = (words >> np.uint64(1)).astype(np.int64) ^ -(words & np.uint64(1)).astype(np.int64)
    run = np.where(values < 0, -values, 1)
    index = np.concatenate(([0], np.cumsum(run)))
    if index[-1] > 1 << 22:
        raise ValueError("damaged histogram: too many buckets")
    counts = np.zeros(int(index[-1]), np.int64)
    positive = values >= 0
    counts[index[:-1][positive]] = values[positive]
    return counts


def _highest(index: npt.NDArray[np.int64], digits: int) -> npt.NDArray[np.int64]:
    """Highest value of each bucket index: HdrHistogram's layout, sub-buckets doubling in width every half."""
    half_bits = int(np.ceil(np.log2(2 * 10**digits))) - 1
    half = 1 << half_bits
    bucket = (index >> half_bits) - 1
    sub = (index & (half - 1)) + half
    first = bucket < 0
    sub = np.where(first, index, sub)
    shift = np.where(first, 0, bucket)
    low = sub.astype(np.int64) << shift
    return low + (np.int64(1) << shift) - 1
