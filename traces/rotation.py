"""A trace read from another moment on, around its end: what came before follows. Reads the source twice, holds one batch."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from traces.schema import ints, with_columns
from traces.stream import Extent, Trace


def round_ns(size: Extent) -> int:
    """How long a round is, from 0 to one mean gap after the last request."""
    return size.last_ns + size.mean_gap_ns


def rotated(trace: Trace, shift_ns: int, period_ns: int) -> Iterator[pa.RecordBatch]:
    """Batches that begin at `shift_ns`, which becomes 0. `period_ns` is more than the last arrival."""
    for batch, at in _split(trace, shift_ns):
        if at < batch.num_rows:
            yield _moved(batch.slice(at), -shift_ns)
    for batch, at in _split(trace, shift_ns):
        if at:
            yield _moved(batch.slice(0, at), period_ns - shift_ns)
        if at < batch.num_rows:
            return


def _split(trace: Trace, shift_ns: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Each batch with the place of its first row at or after the shift."""
    for batch in trace.batches():
        yield batch, int(np.searchsorted(ints(batch, "arrival_ns"), shift_ns, side="left"))


def _moved(batch: pa.RecordBatch, by_ns: int) -> pa.RecordBatch:
    return with_columns(batch, {"arrival_ns": ints(batch, "arrival_ns") + by_ns}) if by_ns else batch
