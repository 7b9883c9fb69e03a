"""Requests counted in windows of time: at the lengths that people read (10 ms to 1 min) as a histogram of counts, which is exact and as
small as the square root of the rows; and as one series over the whole trace, whose windows double in length so that it never has more
than 2^17.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from traces.portrait.bins import Floats, Ints
from traces.portrait.columns import quantile_of

LENGTHS_NS = (10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000, 60_000_000_000)
MOST_WINDOWS = 1 << 17
_FIRST_NS = 1_000


class Windows:
    """Counts in windows of one length, which begin at whole multiples of it on the source's clock."""

    def __init__(self, length_ns: int) -> None:
        self.length_ns = length_ns
        self._over: Counter[int] = Counter()
        self._first: tuple[int, int] | None = None  # number and count of the first window
        self._open: tuple[int, int] | None = None  # of the window that may go on

    def add(self, windows: Ints, counts: Ints) -> None:
        """Numbers of windows that hold something, in order, and what they hold; the last may go on in the next call."""
        if self._open is not None:
            before, held = self._open
            goes_on = int(before == windows[0])
            windows = np.concatenate(([before], windows[goes_on:]))
            counts = np.concatenate(([held + goes_on * counts[0]], counts[goes_on:]))
        self._open = int(windows[-1]), int(counts[-1])
        if len(windows) > 1:
            self._first = self._first or (int(windows[0]), int(counts[0]))
            for count, often in zip(*np.unique(counts[:-1], return_counts=True), strict=True):
                self._over[int(count)] += int(often)

    def seen(self) -> "Counted":
        """Wants at least one request."""
        assert self._open is not None
        first = self._first or self._open
        windows = self._open[0] - first[0] + 1
        counts = self._over + Counter([self._open[1]])
        counts[0] += windows - counts.total()
        values = np.array(sorted(value for value, often in counts.items() if often), dtype=np.int64)
        often = np.array([counts[value] for value in values.tolist()], dtype=np.int64)
        return Counted(self.length_ns, values, often, _dispersion(counts - Counter([first[1], self._open[1]])))


@dataclass(frozen=True)
class Counted:
    """`often[k]` windows held `values[k]` requests, empty ones included, and the two that the trace begins and ends in."""

    length_ns: int
    values: Ints
    often: Ints
    dispersion: float | None
    """Index of dispersion: variance over mean of the counts, without the two windows at the ends. 1: Poisson."""

    @property
    def windows(self) -> int:
        return int(self.often.sum())

    def quantile(self, percent: float) -> float:
        return quantile_of(self.values, self.often, percent)


def _dispersion(counts: Counter[int]) -> float | None:
    windows = sum(counts.values())
    if windows < 2:
        return None
    values, often = np.array(list(counts), dtype=np.float64), np.array(list(counts.values()), dtype=np.float64)
    mean = float(values @ often) / windows
    return float(((values - mean) ** 2) @ often) / windows / mean if mean else None


class Scales:
    """Windows of several lengths, each a multiple of the one before, fed in one pass."""

    def __init__(self, lengths_ns: tuple[int, ...] = LENGTHS_NS) -> None:
        self.windows = [Windows(length) for length in lengths_ns]

    def add(self, clock_ns: Ints) -> None:
        """Arrivals in order, on the source's clock."""
        numbers, counts, length = clock_ns, np.ones(len(clock_ns), dtype=np.int64), 1
        for each in self.windows:
            numbers = numbers // (each.length_ns // length)
            starts = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))
            numbers, counts, length = numbers[starts], np.add.reduceat(counts, starts), each.length_ns
            each.add(numbers, counts)


@dataclass(frozen=True)
class Series:
    """Requests in windows of equal length, one after another; the last is full or left out."""

    window_ns: int
    counts: Ints

    def in_windows(self, length_ns: float) -> Floats:
        """Counts in longer windows, each within what falls into one window of the series; only whole windows."""
        upto = np.concatenate(([0], np.cumsum(self.counts)))
        windows = int(len(self.counts) * self.window_ns / length_ns * (1 + 1e-12))
        ends = np.arange(windows + 1) * (length_ns / self.window_ns)
        counted: Floats = np.diff(np.interp(ends, np.arange(len(upto)), upto))
        return counted

    def folded(self, times: int) -> "Series":
        """Windows so many times as long."""
        whole = len(self.counts) // times * times
        return Series(self.window_ns * times, self.counts[:whole].reshape(-1, times).sum(axis=1))


class SeriesOfCounts:
    """Add arrivals in order; read `series`. Windows begin at the first arrival."""

    def __init__(self, resolution_ns: int, most: int = MOST_WINDOWS) -> None:
        self.window_ns = max(_FIRST_NS, resolution_ns)
        self._counts = np.zeros(most, dtype=np.int64)
        self._first = self._last = -1

    def add(self, arrival_ns: Ints) -> None:
        if self._first < 0:
            self._first = int(arrival_ns[0])
        self._last = int(arrival_ns[-1])
        most = len(self._counts)
        while self._last - self._first >= most * self.window_ns:
            self._counts[: most // 2], self._counts[most // 2 :] = self._counts[0::2] + self._counts[1::2], 0
            self.window_ns *= 2
        numbers = (arrival_ns - self._first) // self.window_ns
        low, high = int(numbers[0]), int(numbers[-1]) + 1
        self._counts[low:high] += np.bincount(numbers - low)

    def series(self) -> Series:
        span = self._last - self._first
        return Series(self.window_ns, self._counts[: max(1, span // self.window_ns)].copy())
