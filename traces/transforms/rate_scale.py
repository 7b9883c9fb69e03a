"""rate_scale f: f times as many requests in the same span, wherever the trace is busy or idle.

Below 1 rows are thinned by a hash of their seq, which thins time evenly; the option `by` thins whole clients, keys or sessions instead,
so that what is left of one is complete: by=key is spatial sampling (Waldspurger et al., SHARDS, FAST 2015), which keeps reuse distances
but for the factor. The share of the requests is then as even as their owners: one hot key comes whole or not at all. Above 1 the gap
after each row is divided for the added requests, so the rate's shape, the span and (for whole factors) the variation of gaps stay. What
the added requests ask for is read from another phase of the same trace: popularity, sizes and ops stay as they are, and no key is asked
for twice in a row only because it was copied. Sessions of added requests are their own; their causal parents are dropped.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, keys_of, mix, stream, uniform_all
from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS, ints, masked, present, with_columns
from traces.sessions import with_own_sessions
from traces.stream import StreamTrace, Trace, extent, joined, rows_at
from traces.transforms.spec import TransformSpec

MAX_READERS = 4
"""Phases that are read at a time; higher factors read these faster. Bounds memory at a handful of batches."""


_OWNERS = {"request": "seq", "client": "client", "key": "key_id", "session": "session_id"}


class RateScale:
    name = "rate_scale"
    summary = "this many times as many requests in the same span: thinned below 1, superposed above"
    stage = "bend"
    value = "the factor, above 0 to 10000"
    changes = "rate"
    needs = "above 1: two passes, and reads the source up to four times more"
    options: Mapping[str, str] = MappingProxyType({"by": f"what is thinned whole below 1: {', '.join(_OWNERS)} (default request)"})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        factor = spec.number(1e-6, 10_000, "a factor above 0, at most 10000")
        key = stream(seed, trace.meta.name, "rate_scale")
        by = spec.word("by", *_OWNERS)
        if factor > 1 and "by" in spec.options:
            raise InvalidInput(
                f"transform rate_scale: by {by!r} with a factor of {factor:g}; expected one up to 1: it says what is thinned; leave it out"
            )
        make = _Thinned(trace, factor, key, by) if factor <= 1 else _Superposed(trace, factor, key)
        meta = dataclasses.replace(trace.meta, rows=None)
        if factor > 1 and trace.meta.causality != "open":
            meta = dataclasses.replace(meta, causality="open").noting("added requests have no causal parents")
        rate, rows = trace.rate_hint_per_s, trace.rows_hint
        return StreamTrace(
            meta,
            make,
            trace.identity,
            rows and round(rows * factor),
            trace.bounded,
            rate * factor if rate else None,
        )

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """How many times as many requests there are."""
        return extent(made).rows / extent(nominal).rows


@dataclasses.dataclass(frozen=True)
class _Thinned:
    trace: Trace
    share: float
    key: int
    by: str

    def __call__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.trace.batches():
            keep = uniform_all(self.key, self._owners(batch)) < self.share
            has_parent = present(batch, "parent_seq")
            if self.by == "request" and has_parent.any():  # a parent that was thinned away can never finish
                parent = ints(batch, "parent_seq")
                kept = uniform_all(self.key, parent) < self.share
                batch = with_columns(batch, {"parent_seq": masked(parent, has_parent & kept)})
            yield batch if keep.all() else batch.filter(pa.array(keep))

    def _owners(self, batch: pa.RecordBatch) -> U64:
        """A number for whom each row belongs to."""
        name = _OWNERS[self.by]
        column = batch.column(name)
        if column.null_count:
            raise InvalidInput(
                f"transform rate_scale: by {self.by!r}: {column.null_count} of {batch.num_rows} requests of {self.trace.meta.name} name no "
                f"{self.by}; expected each to; thin by request"
            )
        if not pa.types.is_dictionary(column.type):
            return ints(batch, name).astype(np.uint64)
        numbers: U64 = keys_of(column.dictionary.to_pylist())[column.indices.to_numpy()]
        return numbers


@dataclasses.dataclass(frozen=True)
class _Superposed:
    trace: Trace
    factor: float
    key: int

    def __call__(self) -> Iterator[pa.RecordBatch]:
        whole = math.floor(self.factor)
        part = self.factor - whole
        copies = whole - 1 + (part > 0)
        rows = extent(self.trace).rows if self.trace.bounded else 1 << 16
        readers = [_Reader(self.trace, (mix(self.key ^ n) * rows) >> 64, n + 1) for n in range(min(copies, MAX_READERS))]
        done = 0
        for batch, gaps in _with_gaps(self.trace, max(1, BATCH_ROWS // (copies + 1))):
            extra = uniform_all(self.key, ints(batch, "seq")) < part
            arrival, shares = ints(batch, "arrival_ns"), whole + extra.astype(np.int64)
            pieces = [with_columns(batch, {"parent_seq": None})]
            orders = [np.arange(batch.num_rows) * (copies + 1)]
            for copy in range(1, copies + 1):
                at = np.flatnonzero(extra) if copy == whole else np.arange(batch.num_rows)
                if len(at):
                    content = readers[(copy - 1) % len(readers)].take(len(at))
                    place = arrival[at] + (gaps[at].astype(np.float64) * copy / shares[at]).astype(np.int64)
                    pieces.append(with_columns(content, {"arrival_ns": place}))
                    orders.append(at * (copies + 1) + copy)
            merged = joined(pieces)
            # Each row's additions lie before the next row: this is the order of arrival, and that of equal ones depends on no lot.
            merged = rows_at(merged, np.argsort(np.concatenate(orders)))
            seq = np.arange(done, done + merged.num_rows, dtype=np.uint64)
            done += merged.num_rows
            yield with_columns(merged, {"seq": seq})


def _with_gaps(trace: Trace, rows: int) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    """Batches of at most `rows` with the time from each row to the next; after the last row it is 0."""
    held: pa.RecordBatch | None = None
    for batch in trace.batches():
        for start in range(0, batch.num_rows, rows):
            piece = batch.slice(start, rows)
            if held is not None:
                yield held, np.diff(ints(held, "arrival_ns"), append=ints(piece, "arrival_ns")[0])
            held = piece
    if held is not None:
        arrival = ints(held, "arrival_ns")
        yield held, np.diff(arrival, append=arrival[-1])


class _Reader:
    """Rows of a trace from a phase on, around and around."""

    def __init__(self, trace: Trace, phase: int, number: int) -> None:
        self._batches = self._around(trace, phase)
        self._number = number
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    @staticmethod
    def _around(trace: Trace, phase: int) -> Iterator[pa.RecordBatch]:
        skip, empty = phase, False
        while not empty:
            empty = True
            for batch in trace.batches():
                empty = empty and not batch.num_rows
                if skip < batch.num_rows:
                    yield batch.slice(skip)
                skip = max(0, skip - batch.num_rows)
        raise InvalidInput(f"transform rate_scale: {trace.meta.name} has no rows; expected at least one request")

    def take(self, rows: int) -> pa.RecordBatch:
        while self._rows < rows:
            batch = next(self._batches)
            self._held.append(batch)
            self._rows += batch.num_rows
        taken: list[pa.RecordBatch] = []
        need = rows
        while need:
            head = self._held.pop(0)
            taken.append(head.slice(0, need))
            if head.num_rows > need:
                self._held.insert(0, head.slice(need))
            need -= taken[-1].num_rows
        self._rows -= rows
        return with_own_sessions(joined(taken), self._number)


TRANSFORM = RateScale()
