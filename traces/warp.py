"""Time bent so that the rate follows a shape that comes again each period: requests keep their number, order, span and contents, and how
irregular their gaps are within a moment; only where they lie changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.schema import ints, with_columns
from traces.stream import Extent, Trace

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """The share of a period's requests that come before a share of its time: both from 0 to 1, ascending, straight between the points."""

    time: Floats
    requests: Floats


@dataclass(frozen=True)
class Warped:
    """Batches of `trace`, whose rate becomes what it was times the shape's slope."""

    trace: Trace
    size: Extent
    period_ns: int
    shape: Shape

    def __call__(self) -> Iterator[pa.RecordBatch]:
        span, period, shape = float(self.size.span_ns), float(self.period_ns), self.shape
        whole = self._requests_before(span)
        last = self.size.first_ns
        for batch in self.trace.batches():
            if not batch.num_rows or not span:
                yield batch
                continue
            # What was evenly spread over the span is spread evenly over the requests that the shape has in it.
            place = (ints(batch, "arrival_ns") - self.size.first_ns) * (whole / span)
            periods = np.floor(place)
            moved = (periods + np.interp(place - periods, shape.requests, shape.time)) * period
            arrival = self.size.first_ns + np.clip(np.rint(moved), 0, self.size.span_ns).astype(np.int64)
            arrival = np.maximum.accumulate(np.maximum(arrival, last))  # rounding at a period's end must not turn the order
            last = int(arrival[-1])
            yield with_columns(batch, {"arrival_ns": arrival})

    def _requests_before(self, time_ns: float) -> float:
        periods, rest = divmod(time_ns / self.period_ns, 1)
        return float(periods + np.interp(rest, self.shape.time, self.shape.requests))
