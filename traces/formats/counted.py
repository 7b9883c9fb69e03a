"""Rows that stand for several requests: each becomes as many, in lots, for one row may stand for millions."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.delimited import required
from traces.schema import BATCH_ROWS

Ints = npt.NDArray[np.int64]
_MOST = 2**31


def expanded(count: Ints) -> Iterator[tuple[Ints, Ints]]:
    """(row, which of its requests, from 0) of each request, in order, at most BATCH_ROWS at a time."""
    ends = np.cumsum(count)
    for start in range(0, int(ends[-1]) if len(ends) else 0, BATCH_ROWS):
        at = np.arange(start, min(start + BATCH_ROWS, int(ends[-1])))
        rows = np.searchsorted(ends, at, side="right")
        yield rows, at - (ends[rows] - count[rows])


def counts_in(batch: pa.RecordBatch, name: str, path: Path, done: int) -> Ints:
    """A csv's column of counts; `done` rows came before. Raises InvalidInput that names the line of one below 1."""
    count: Ints = required(batch, name, path, done).to_numpy()
    bad = np.flatnonzero((count < 1) | (count > _MOST))
    if len(bad):
        raise InvalidInput(f"{path}: line {done + int(bad[0]) + 2}: {name} {count[bad[0]]}; expected 1 to {_MOST}; correct the file")
    return count
