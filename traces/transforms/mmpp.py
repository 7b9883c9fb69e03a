"""mmpp cv: arrivals of a two-state Markov-modulated Poisson process whose gaps have this coefficient of variation: half the time it is
busy, half the time quiet, each for an exponential time (option `dwell`, its mean, default 1s). `burst` gives gaps of the same variation
in no order; here the short ones come together, which is what fills queues. The count, order, mean rate and span stay.

The gaps are a hyperexponential law with balanced means (Whitt, Approximating a point process by a renewal process, 1982). States change
at arrivals; runs and gaps are their laws' quantiles in a seeded random order, so that the variation is hit and not drawn. Two passes,
and memory of 24 bytes a dwell time.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import permuted, stream
from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS, with_columns
from traces.stream import Extent, StreamTrace, Trace, extent, gap_variation, remade, timed
from traces.transforms.spec import TransformSpec

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_DWELL = "1s"
_MOST_RUNS = 4_000_000
_FEWEST_QUIET = 20
_GRID = 1 << 16


class Mmpp:
    name = "mmpp"
    summary = "arrivals of a process that is busy and quiet in turn, gaps with this coefficient of variation"
    stage = "bend"
    value = "the coefficient of variation, above 1 to 100"
    changes = "gaps"
    needs = "two passes; memory of 24 bytes a dwell time"
    options: Mapping[str, str] = MappingProxyType({"dwell": f"the mean time in each state (default {_DWELL})"})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        cv = spec.number(1.001, 100, "a coefficient of variation above 1, to 100; burst gives smaller ones")
        size, dwell = timed(extent(trace), trace, f"transform {self.name}"), spec.duration_ns("dwell", _DWELL)
        gaps = size.rows - 1
        busy = busy_gaps(cv, gaps)
        if gaps - busy < _FEWEST_QUIET:
            raise InvalidInput(
                f"transform {self.name}: cv {cv:g} leaves {gaps - busy} of {gaps} gaps to the quiet state; expected {_FEWEST_QUIET}; "
                "take a longer trace or a smaller cv"
            )
        runs = max(1, round(size.span_ns / (2 * dwell)))
        if runs > _MOST_RUNS:
            raise InvalidInput(
                f"transform {self.name}: dwell {dwell} ns makes {runs:,} runs; expected at most {_MOST_RUNS:,}; give a longer one"
            )
        key = stream(seed, trace.meta.name, self.name)
        make = _Modulated(trace, size, _Runs.of(busy, gaps - busy, runs, key), key)
        meta = trace.meta.recording(busy_gaps=busy, quiet_gaps=gaps - busy, runs=runs)
        meta = dataclasses.replace(meta, arrival_model="generated", arrival_resolution_ns=1, source_offset_ns=0, t0_unix_ns=None)
        return remade(trace, make, meta)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The coefficient of variation of the gaps."""
        return gap_variation(made)


def busy_gaps(cv: float, gaps: int) -> int:
    """How many of the gaps are those of the busy state, so that all vary by `cv`, by bisection: variation grows with their share."""
    low, high = 0.5, 1.0
    for _ in range(60):
        share = (low + high) / 2
        square = sum(_second_moment(round(part * gaps)) / (4 * part) for part in (share, 1 - share))
        low, high = (share, high) if square - 1 < cv * cv else (low, share)
    return round((low + high) / 2 * gaps)


def _second_moment(count: int) -> float:
    """Of `count` quantiles of the exponential law of mean 1: 2 less what their end cuts off."""
    if count > _GRID:
        return 2.0
    drawn = _exponential((np.arange(max(1, count)) + 0.5) / max(1, count))
    return float((drawn * drawn).mean() / drawn.mean() ** 2)


def _exponential(u: Floats) -> Floats:
    return -np.log1p(-u)


@dataclasses.dataclass(frozen=True)
class _Runs:
    """Busy and quiet runs in turn. Each array has one more entry than there are pairs of runs: how many gaps came before."""

    busy: Ints
    quiet: Ints

    @classmethod
    def of(cls, busy: int, quiet: int, runs: int, key: int) -> "_Runs":
        order = np.arange(runs, dtype=np.uint64)
        drawn = [_exponential((permuted(order, runs, key + lot).astype(np.float64) + 0.5) / runs) for lot in (1, 2)]
        edges = [
            np.append(0, np.rint(np.cumsum(each) / each.sum() * count)).astype(np.int64)
            for each, count in zip(drawn, (busy, quiet), strict=True)
        ]
        return cls(edges[0], edges[1])


@dataclasses.dataclass(frozen=True)
class _Modulated:
    trace: Trace
    size: Extent
    runs: _Runs
    key: int

    def __call__(self) -> Iterator[pa.RecordBatch]:
        total = sum(self._sum(count) / share for count, share in zip(self._counts, self._speeds, strict=True))
        scale = self.size.span_ns / total
        done, clock = 0, 0.0
        for batch in self.trace.batches():
            if not batch.num_rows:
                continue
            before = self._gaps(max(0, done - 1), done + batch.num_rows - 1)
            sums = clock + np.cumsum(before) if done else np.concatenate(([0.0], np.cumsum(before)))
            clock = float(sums[-1])
            done += batch.num_rows
            arrival = self.size.first_ns + np.minimum(np.rint(sums * scale), self.size.span_ns).astype(np.int64)
            yield with_columns(batch, {"arrival_ns": arrival})

    @property
    def _counts(self) -> tuple[int, int]:
        return int(self.runs.busy[-1]), int(self.runs.quiet[-1])

    @property
    def _speeds(self) -> tuple[float, float]:
        """Rates of both states; in equal times each has its gaps."""
        busy, quiet = self._counts
        return busy / (busy + quiet), quiet / (busy + quiet)

    @staticmethod
    def _sum(count: int) -> float:
        starts = range(0, count, BATCH_ROWS)
        return sum(float(_exponential((np.arange(at, min(count, at + BATCH_ROWS)) + 0.5) / count).sum()) for at in starts)

    def _gaps(self, start: int, end: int) -> Floats:
        """Gaps by number: in which run each lies says its state, and its number within the state says its quantile."""
        number = np.arange(start, end, dtype=np.int64)
        pair = np.searchsorted(self.runs.busy + self.runs.quiet, number, side="right") - 1
        in_busy = number - self.runs.quiet[pair]
        busy = in_busy < self.runs.busy[pair + 1]
        out = np.empty(len(number))
        for mine, within, count, speed, lot in (
            (busy, in_busy, self._counts[0], self._speeds[0], 3),
            (~busy, number - self.runs.busy[np.minimum(pair + 1, len(self.runs.busy) - 1)], self._counts[1], self._speeds[1], 4),
        ):
            ranks = permuted(within[mine].astype(np.uint64), count, self.key + lot)
            out[mine] = _exponential((ranks.astype(np.float64) + 0.5) / count) / speed
        return out


TRANSFORM = Mmpp()
