"""One row for each request, as Parquet (protos.records.REQUESTS): for whoever wants more than histograms.

It is written while the replay runs, on the thread that waits for it, and costs the engine's loop a copy of 48 bytes a request.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agent import _engine
from protos.records import REQUESTS

_NEVER = np.iinfo(np.int64).min


class RequestLog:
    """A file that is whole once `close` has returned. Raises OSError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, REQUESTS, compression="zstd", compression_level=1)
        self.rows = 0

    def write(self, log: _engine.RequestLog) -> None:
        def times(column: bytes) -> pa.Array:
            values = np.frombuffer(column, dtype=np.int64)
            return pa.array(values, mask=values == _NEVER)

        def words(column: bytes, names: list[str]) -> pa.Array:
            return pa.DictionaryArray.from_arrays(pa.array(np.frombuffer(column, dtype=np.int8)), pa.array(names, pa.string()))

        columns = [
            pa.array(np.frombuffer(log.row, dtype=np.uint64)),
            times(log.due_ns),
            times(log.sent_ns),
            times(log.done_ns),
            words(log.op, log.ops),
            words(log.end, list(_engine.ENDS)),
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=REQUESTS))
        self.rows += log.rows

    def close(self) -> None:
        self._writer.close()
