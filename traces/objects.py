"""What the requests of a trace are for: its keys or, where it has none, its paths, functions or sectors; counted in one pass and put in
the order of their popularity, so that a request can be given another one.

Memory is that of the distinct objects, about 50 bytes each and their paths, whatever the length of the trace.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.draws import U64, mix_all
from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS, with_columns
from traces.stream import Extent, Trace, batch_extent, narrowed

Ints = npt.NDArray[np.int64]
_DENSE = 1 << 20
MOST = 50_000_000
"""Distinct objects that are held; as many as a synthesis makes."""
_NAMED_BY = ("key_id", "target", "offset_bytes")


@dataclass(frozen=True)
class Objects:
    """By popularity: rank 0 has the most requests, equals stand in an order that a hash gives. `columns` are those that say which
    object a request is for, one row an object.
    """

    by: str
    size: Extent
    counts: Ints
    columns: Mapping[str, pa.Array]
    _ids: U64  # ascending
    _ranks: Ints  # of each of _ids; where they are dense enough, of each number up to the last of them
    _codes: Mapping[str, int]  # paths as numbers

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def rows(self) -> int:
        """Requests that are for an object."""
        return int(self.counts.sum())

    def ranks(self, batch: pa.RecordBatch) -> Ints:
        """The rank of each row's object; -1 for a row that names none."""
        words, codes = _distinct(batch.column(self.by))
        ids = _numbers(words, self._codes)
        places = ids if len(self._ranks) > len(self._ids) else np.searchsorted(self._ids, ids)
        found = self._ranks[places] if len(ids) else np.empty(0, np.int64)
        return np.append(found, -1)[codes]

    def named(self, batch: pa.RecordBatch, ranks: Ints) -> pa.RecordBatch:
        """`batch` with each row's object replaced by that of a rank; -1 leaves the row alone."""
        known = ranks >= 0
        places = pa.array(ranks, mask=~known)
        changed = {}
        for name, column in self.columns.items():
            values = column.take(places)
            if not known.all():
                kept = batch.column(name)
                kept = kept.dictionary_decode() if pa.types.is_dictionary(kept.type) else kept
                values = pc.if_else(pa.array(known), values, kept)
            changed[name] = values
        return with_columns(batch, changed)


def objects_of(trace: Trace, asks: str) -> Objects:
    """Reads the trace once. Raises InvalidInput, in the name of what `asks`, for one without an end or without objects."""
    if not trace.bounded:
        raise InvalidInput(f"{asks}: {trace.meta.name} is a synthesis without an end; expected a length; add ,for=10s or ,rows=N")
    counting: _Counting | None = None
    size = None
    for batch in narrowed(trace, ("arrival_ns", "seq", *_NAMED_BY, "key_bytes")):
        if not batch.num_rows:
            continue
        size = batch_extent(batch, size)
        if counting is None:
            by = next((name for name in _NAMED_BY if batch.column(name).null_count < batch.num_rows), None)
            if by is None:
                continue
            counting = _Counting(by, trace.meta.kinds, asks)
        counting.add(batch)
    if counting is None or size is None:
        raise InvalidInput(f"{asks}: the requests of {trace.meta.name} name no key, path or function; expected a trace whose requests do")
    return counting.done(size)


class _Counting:
    """Merges only once as much is new as is known, so that each object is sorted a logarithmic number of times."""

    def __init__(self, by: str, kinds: tuple[str, ...], asks: str) -> None:
        beside = ["key_id", "key_bytes", *([] if "kv" in kinds else ["target"]), *(["offset_bytes"] if "block" in kinds else [])]
        self._by, self._asks = by, asks
        self._beside = beside if by in beside else [*beside, by]
        self._codes: dict[str, int] = {}
        self._ids: list[U64] = []
        self._counts: list[Ints] = []
        self._columns: dict[str, list[pa.Array]] = {name: [] for name in self._beside}
        self._known = self._new = 0

    def add(self, batch: pa.RecordBatch) -> None:
        words, codes = _distinct(batch.column(self._by))
        used = np.flatnonzero(np.bincount(codes, minlength=len(words) + 1)[: len(words)])
        if not len(used):
            return
        if len(used) < len(words):  # a part of a batch keeps the whole batch's dictionary
            renumbered = np.full(len(words) + 1, len(used))
            renumbered[used] = np.arange(len(used))
            words, codes = words.take(pa.array(used)), renumbered[codes]
        first = np.empty(len(words) + 1, dtype=np.int64)
        first[codes[::-1]] = np.arange(batch.num_rows)[::-1]
        rows = pa.array(first[: len(words)])
        if self._by == "target":
            for word in words.to_pylist():
                self._codes.setdefault(word, len(self._codes))
        self._ids.append(_numbers(words, self._codes))
        self._counts.append(np.bincount(codes, minlength=len(words) + 1)[: len(words)])
        for name in self._beside:
            self._columns[name].append(_plain(batch.column(name).take(rows)))
        self._new += len(words)
        if self._new > max(self._known, 4 * BATCH_ROWS):
            self._merge()

    def _merge(self) -> None:
        ids, first, place = np.unique(np.concatenate(self._ids), return_index=True, return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate(self._counts), minlength=len(ids)).astype(np.int64)
        rows = pa.array(first)
        self._columns = {name: [pa.concat_arrays(parts).take(rows)] for name, parts in self._columns.items()}
        self._ids, self._counts = [ids], [counts]
        self._known, self._new = len(ids), 0
        if self._known > MOST:
            raise InvalidInput(
                f"{self._asks}: more than {MOST:,} different objects; expected fewer, they are held in memory; take a window"
            )

    def done(self, size: Extent) -> Objects:
        self._merge()
        ids, counts = self._ids[0], self._counts[0]
        order = np.lexsort((mix_all(ids), -counts))
        ranks = np.empty(len(ids), dtype=np.int64)
        ranks[order] = np.arange(len(ids))
        by_rank = pa.array(order)
        columns = {name: parts[0].take(by_rank) for name, parts in self._columns.items() if parts[0].null_count < len(ids)}
        most = int(ids[-1]) + 1
        if len(ids) < most <= max(_DENSE, 8 * len(ids)):
            table = np.full(most, -1, dtype=np.int64)
            table[ids.astype(np.int64)] = ranks
            ranks = table
        return Objects(self._by, size, counts[order], columns, ids, ranks, self._codes)


def _distinct(column: pa.Array) -> tuple[pa.Array, Ints]:
    """The different values of a column, and which of them each row has; rows without one have the number after the last."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    used = column.indices.fill_null(-1) if column.indices.null_count else column.indices
    codes = used.to_numpy().astype(np.int64)
    return column.dictionary, np.where(codes < 0, len(column.dictionary), codes) if len(codes) and codes.min() < 0 else codes


def _numbers(words: pa.Array, codes: Mapping[str, int]) -> U64:
    if pa.types.is_integer(words.type):
        numbers: U64 = words.to_numpy().astype(np.uint64)
        return numbers
    return np.fromiter((codes[word] for word in words.to_pylist()), dtype=np.uint64, count=len(words))


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def grouped(values: Ints) -> Ints:
    """Places by value, then by place: a stable argsort, by one sort of numbers that hold both. `values` are from -1, below 2^43; at
    most 2^20 of them.
    """
    placed = np.sort((values << 20) | np.arange(len(values), dtype=np.int64))
    order: Ints = placed & ((1 << 20) - 1)
    return order


def occurrence(values: Ints) -> Ints:
    """How many equal values stand before each, of as many and as large as `grouped` takes."""
    position = grouped(values)
    starts = np.flatnonzero(np.diff(values[position], prepend=-1))
    lengths = np.diff(np.append(starts, len(values)))
    out = np.empty(len(values), dtype=np.int64)
    out[position] = np.arange(len(values)) - np.repeat(starts, lengths)
    return out
