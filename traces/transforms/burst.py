"""burst cv: gaps between requests get this coefficient of variation; their count, order, mean rate and span
stay.

Gaps follow Weibull's law, whose one shape runs from equidistant (cv 0) over Poisson (cv 1) to heavy bursts.
They are the law's quantiles in a seeded random order, not free draws: with heavy tails 10^5 free draws miss
the asked variation by more than 5 %, quantiles hit it. The source's own shape of the rate over time is
replaced: that is what is bent.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import permuted, stream
from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS, with_columns
from traces.stream import Extent, StreamTrace, Trace, extent, gap_variation, timed
from traces.transforms.spec import TransformSpec

Floats = npt.NDArray[np.float64]
_EXACT_RANKS = 1 << 16
_BINS = 1 << 14


class Burst:
    name = "burst"
    summary = "gaps with this coefficient of variation: 0 equidistant, 1 Poisson, above it bursts"
    stage = "bend"
    value = "the coefficient of variation, 0 to 1000"
    changes = "gaps"
    needs = "two passes"
    options: Mapping[str, str] = MappingProxyType({})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        cv = spec.number(0, 1000, "a coefficient of variation from 0 to 1000")
        size = timed(extent(trace), trace, "transform burst")
        gaps = size.rows - 1
        if gaps < 1:
            raise InvalidInput(f"transform burst: {trace.meta.name} has {size.rows} request; expected at least two")
        # n gaps cannot vary by more than sqrt(n - 1), where one holds all the time.
        if cv > 0.5 * math.sqrt(gaps):
            raise InvalidInput(
                f"transform burst: cv {cv:g} cannot be shown with {gaps} gaps; expected at least "
                f"{math.ceil(4 * cv * cv)} of them; take a longer trace or a smaller cv"
            )
        shape = shape_of(cv, gaps)
        key = stream(seed, trace.meta.name, "burst")
        meta = dataclasses.replace(
            trace.meta,
            arrival_model="generated",
            arrival_resolution_ns=1,
            source_offset_ns=0,
            t0_unix_ns=None,
        )
        return StreamTrace(
            meta,
            _Bent(trace, shape, key, size),
            trace.identity,
            size.rows,
            rate_hint_per_s=trace.rate_hint_per_s,
        )

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The coefficient of variation of the gaps."""
        return gap_variation(made)


@dataclasses.dataclass(frozen=True)
class _Bent:
    trace: Trace
    shape: float
    key: int
    size: Extent

    def __call__(self) -> Iterator[pa.RecordBatch]:
        gaps = self.size.rows - 1
        total = sum(float(self._law(start, min(gaps, start + BATCH_ROWS)).sum()) for start in range(0, gaps, BATCH_ROWS))
        scale = self.size.span_ns / total
        done, clock = 0, 0.0
        for batch in self.trace.batches():
            if not batch.num_rows:
                continue
            # Row i lies after gaps 0 .. i-1; the first row of all stays where it is.
            before = self._gaps(max(0, done - 1), done + batch.num_rows - 1)
            sums = clock + np.cumsum(before) if done else np.concatenate(([0.0], np.cumsum(before)))
            clock = float(sums[-1])
            done += batch.num_rows
            arrival = self.size.first_ns + np.minimum(np.rint(sums * scale), self.size.span_ns).astype(np.int64)
            yield with_columns(batch, {"arrival_ns": arrival})

    def _gaps(self, start: int, end: int) -> Floats:
        gaps = self.size.rows - 1
        ranks = permuted(np.arange(start, end, dtype=np.uint64), gaps, self.key)
        return weibull((ranks.astype(np.float64) + 0.5) / gaps, self.shape)

    def _law(self, start: int, end: int) -> Floats:
        """Gaps of these ranks: all together they are the same gaps, and their sum needs no order."""
        return weibull((np.arange(start, end, dtype=np.float64) + 0.5) / (self.size.rows - 1), self.shape)


def weibull(u: Floats, shape: float) -> Floats:
    """Quantiles; an infinite shape has all gaps alike."""
    if math.isinf(shape):
        return np.ones(len(u))
    result: Floats = (-np.log1p(-u)) ** (1 / shape)
    return result


def shape_of(cv: float, gaps: int) -> float:
    """The shape with which `gaps` quantiles vary by `cv`, by bisection: variation falls as the shape
    grows.
    """
    if cv == 0 or gaps == 1:
        return math.inf
    u, weights = _quantile_grid(gaps)
    low, high = 1e-2, 1e4
    for _ in range(60):
        middle = math.sqrt(low * high)
        drawn = weibull(u, middle)
        mean = float(np.average(drawn, weights=weights))
        deviation = math.sqrt(float(np.average((drawn - mean) ** 2, weights=weights)))
        low, high = (middle, high) if deviation / mean > cv else (low, middle)
    return math.sqrt(low * high)


def _quantile_grid(gaps: int) -> tuple[Floats, Floats]:
    """Quantiles and their weights: the tail, which decides the variation, in full, the body in bins."""
    tail = min(gaps, _EXACT_RANKS)
    ranks = np.arange(gaps - tail, gaps, dtype=np.float64)
    weights = np.ones(tail)
    body = gaps - tail
    if body:
        edges = np.linspace(0, body, min(_BINS, body) + 1)
        ranks = np.concatenate(((edges[:-1] + edges[1:] - 1) / 2, ranks))
        weights = np.concatenate((np.diff(edges), weights))
    return (ranks + 0.5) / gaps, weights


TRANSFORM = Burst()
