"""A trace as a stream: metadata, and canonical batches that can be read again and again in constant memory.

Holds what every reader and transform shares: cutting, re-batching, the check of order. Reads no files by
itself.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS, SCHEMA, TraceMeta, ints, nulls


class Trace(Protocol):
    """Timestamped requests. `batches` gives canonical batches sorted by (arrival_ns, seq), from the start at
    each call.
    """

    @property
    def meta(self) -> TraceMeta: ...
    @property
    def rows_hint(self) -> int | None:
        """Rows, where known without reading."""

    @property
    def bounded(self) -> bool:
        """False for a synthesis without an end: cut it with `limit` before reading to the end."""

    @property
    def rate_hint_per_s(self) -> float | None:
        """Mean rate, where known without reading."""

    def batches(self) -> Iterator[pa.RecordBatch]: ...
    def identity(self) -> str:
        """A text that is equal only for equal rows. May read the source once to hash it."""


@dataclass(frozen=True)
class StreamTrace:
    """A Trace out of two functions."""

    meta: TraceMeta
    make: Callable[[], Iterator[pa.RecordBatch]]
    origin: Callable[[], str]
    rows_hint: int | None = None
    bounded: bool = True
    rate_hint_per_s: float | None = None
    narrow: Callable[[Collection[str]], Iterator[pa.RecordBatch]] | None = None
    """The same batches with these columns alone, the others null, where that is cheaper to read."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self.make()

    def identity(self) -> str:
        return self.origin()


def narrowed(trace: Trace, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    """The batches of a trace of which only these columns will be looked at."""
    narrow = trace.narrow if isinstance(trace, StreamTrace) else None
    return narrow(columns) if narrow is not None else trace.batches()


def remade(trace: Trace, make: Callable[[], Iterator[pa.RecordBatch]], meta: TraceMeta | None = None) -> StreamTrace:
    """As many rows as `trace` has, made in another way. Its identity stays that of `trace`: whoever changed the rows says so in it."""
    return StreamTrace(meta or trace.meta, make, trace.identity, trace.rows_hint, trace.bounded, trace.rate_hint_per_s)


_FILE = "file "


def file_identity(sha256: str, how: str) -> str:
    """The identity of the rows of a file, read in some way."""
    return f"{_FILE}{sha256} {how}"


def file_sha256_in(identity: str) -> str:
    """The file's hash in an identity, whatever was done to its rows since; "" for none."""
    return identity[len(_FILE) :].split(" ", 1)[0] if identity.startswith(_FILE) else ""


def limit(trace: Trace, until_ns: int) -> StreamTrace:
    """`trace` before `until_ns` (excluded)."""

    def make() -> Iterator[pa.RecordBatch]:
        for batch in trace.batches():
            if not batch.num_rows:
                continue
            arrival = ints(batch, "arrival_ns")
            if arrival[-1] < until_ns:
                yield batch
                continue
            keep = int(np.searchsorted(arrival, until_ns, side="left"))
            if keep:
                yield batch.slice(0, keep)
            return

    rate = trace.rate_hint_per_s
    hint = round(rate * until_ns / 1e9) if rate and trace.rows_hint is None else trace.rows_hint
    return StreamTrace(
        meta=dataclasses.replace(trace.meta, rows=None, span_ns=None),
        make=make,
        origin=lambda: f"{trace.identity()}|until {until_ns}",
        rows_hint=hint,
        rate_hint_per_s=rate,
    )


def rebatched(batches: Iterable[pa.RecordBatch], rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly `rows`, but for the last. Holds at most one batch more."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, rows - count)
            held.append(piece)
            count += piece.num_rows
            start += piece.num_rows
            if count == rows:
                yield joined(held)
                held, count = [], 0
    if held:
        yield joined(held)


def joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of several, their dictionaries unified."""
    if len(batches) == 1:
        return batches[0]
    rows = sum(batch.num_rows for batch in batches)
    arrays = []
    for place, field in enumerate(SCHEMA):
        parts = [batch.column(place) for batch in batches]
        empty = all(part.null_count == len(part) for part in parts)
        # concat_arrays unifies dictionaries, but refuses to outgrow int8 indices silently, which is wanted here.
        arrays.append(nulls(rows, field.type) if empty else pa.concat_arrays(parts))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def rows_at(batch: pa.RecordBatch, places: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """The rows at these places, in this order. Columns that say nothing, which are most, are not moved."""
    at = pa.array(places)
    arrays = [nulls(len(places), column.type) if column.null_count == batch.num_rows else column.take(at) for column in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


@dataclass(frozen=True)
class Extent:
    """Size of a trace, by one pass over its arrivals."""

    rows: int
    first_ns: int
    last_ns: int
    last_seq: int

    @property
    def span_ns(self) -> int:
        return self.last_ns - self.first_ns

    @property
    def mean_gap_ns(self) -> int:
        return max(1, self.span_ns // (self.rows - 1)) if self.rows > 1 else 1_000_000_000


def extent(trace: Trace) -> Extent:
    """Reads the trace once. Raises InvalidInput for one without rows or without an end."""
    if not trace.bounded:
        raise InvalidInput(f"{trace.meta.name}: a synthesis without an end; expected a length; add ,for=10s or ,rows=N")
    size: Extent | None = None
    for batch in narrowed(trace, ("arrival_ns", "seq")):
        size = batch_extent(batch, size) if batch.num_rows else size
    if size is None:
        raise InvalidInput(f"{trace.meta.name}: no rows; expected at least one request; widen the window or check the file")
    return size


def timed(size: Extent, trace: Trace, asks: str) -> Extent:
    """`size`, that of `trace`. Raises InvalidInput, in the name of what `asks`, where its requests have no time between them to bend."""
    if size.rows > 1 and not size.span_ns:
        raise InvalidInput(
            f"{asks}: all {size.rows:,} requests of {trace.meta.name} are at one instant; expected times between them; give it some first: "
            "spread=poisson,rate=1000/s"
        )
    return size


def batch_extent(batch: pa.RecordBatch, before: Extent | None) -> Extent:
    """The extent of what came before and this batch, which has rows."""
    arrival, seq = ints(batch, "arrival_ns"), int(ints(batch, "seq").max())
    if before is None:
        return Extent(batch.num_rows, int(arrival[0]), int(arrival[-1]), seq)
    return Extent(before.rows + batch.num_rows, before.first_ns, int(arrival[-1]), max(before.last_seq, seq))


def gap_variation(trace: Trace) -> float | None:
    """Coefficient of variation of the gaps between arrivals (population standard deviation over mean); None where they have no mean. Reads
    the trace once.
    """
    size = extent(trace)
    if not size.span_ns:
        return None
    mean, last, squares = size.span_ns / (size.rows - 1), size.first_ns, 0.0
    for batch in narrowed(trace, ("arrival_ns",)):
        arrival = ints(batch, "arrival_ns")
        if len(arrival):
            off = np.diff(arrival, prepend=last) - mean
            squares += float(off @ off)
            last = int(arrival[-1])
    return math.sqrt(max(0.0, squares - mean * mean) / (size.rows - 1)) / mean  # the first row has no gap before it
