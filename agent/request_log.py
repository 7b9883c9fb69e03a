"""One row for each request, as Parquet (protos.records.REQUESTS): for whoever wants more than histograms.

Of a replay that was stopped it has those that had come due: the others are only counted, as unsent.

It is written while the replay runs, on the thread that waits for it, and costs the engine's loop a copy of 48 bytes a request.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agent import _engine
from protos.records import REQUESTS

_NEVER = np.iinfo(np.int64).min


class RequestLog:
    """A file that is whole once `close` has returned. Raises OSError where it cannot be made.

    Where it cannot be written to its end, such as on a full disk, it is removed and `failure` says why: a part of a log would look like
    a whole one, and the replay's own figures need none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failure: str | None = None
        self._writer = pq.ParquetWriter(path, REQUESTS, compression="zstd", compression_level=1)
        self.rows = 0

    def write(self, log: _engine.RequestLog) -> None:
        if self.failure is not None:
            return

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
        self._attempt(lambda: self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=REQUESTS)))
        self.rows += log.rows

    def close(self) -> None:
        if self.failure is None:
            self._attempt(self._writer.close)

    def _attempt(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except OSError as error:
            self.failure = f"{self._path}: {os.strerror(error.errno) if error.errno else error}"
            with contextlib.suppress(OSError):
                self._writer.close()
            # A device, such as /dev/full, is not ours to remove.
            if self._path.is_file():
                self._path.unlink()
