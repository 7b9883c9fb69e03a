"""Several sorted streams as one. Holds a batch of each, and of one stamp all its rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from traces.schema import ints, with_columns
from traces.stream import joined, rows_at


def merged(streams: Sequence[Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """All rows by arrival; equal arrivals in the order of the streams, then of their rows. `seq` is counted anew."""
    heads = [_Head(stream) for stream in streams]
    done = 0
    while any(head.batch is not None for head in heads):
        until = min(int(head.arrival[-1]) for head in heads if head.open) if any(head.open for head in heads) else None
        pieces = [piece for head in heads if (piece := head.before(until)) is not None]
        if not pieces:
            for head in heads:
                if head.open and int(head.arrival[-1]) == until:
                    head.extend()
            continue
        batch = joined(pieces)
        if len(pieces) > 1:
            batch = rows_at(batch, np.argsort(ints(batch, "arrival_ns"), kind="stable"))
        seq = np.arange(done, done + batch.num_rows, dtype=np.uint64)
        done += batch.num_rows
        yield with_columns(batch, {"seq": seq})


class _Head:
    """What has been read of one stream and not yet given on. While it is `open`, more may come with its last arrival."""

    def __init__(self, stream: Iterator[pa.RecordBatch]) -> None:
        self._stream = stream
        self.open = True
        self.batch: pa.RecordBatch | None = None
        self.extend()

    def extend(self) -> None:
        """Another batch behind what is held."""
        more = next((batch for batch in self._stream if batch.num_rows), None)
        if more is None:
            self.open = False
            return
        self.batch = more if self.batch is None else joined([self.batch, more])
        self.arrival = ints(self.batch, "arrival_ns")

    def before(self, until_ns: int | None) -> pa.RecordBatch | None:
        """Takes the rows before a moment; None for all."""
        if self.batch is None:
            return None
        at = self.batch.num_rows if until_ns is None else int(np.searchsorted(self.arrival, until_ns, side="left"))
        if not at:
            return None
        taken, rest = self.batch.slice(0, at), self.batch.slice(at)
        self.batch, self.arrival = (rest, self.arrival[at:]) if rest.num_rows else (None, self.arrival[:0])
        if self.batch is None and self.open:
            self.extend()
        return taken
