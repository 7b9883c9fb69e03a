"""A portrait: all that one pass over a trace gathers of it, in constant memory and linear time. Figures are made of it by
`traces.characterise`, laws to compare by `traces.distance`.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, key_of, mix_all
from traces.errors import InvalidInput
from traces.portrait.arrivals import Gaps
from traces.portrait.bins import STRETCHES, Ints, Stretched
from traces.portrait.columns import Column
from traces.portrait.distinct import Distinct
from traces.portrait.keys import KeyCounts
from traces.portrait.reuse import Reuse
from traces.portrait.windows import Scales, SeriesOfCounts
from traces.schema import TraceMeta, ints, present
from traces.stream import Trace

COLUMNS = ("req_bytes", "resp_bytes", "prompt_tokens", "output_tokens", "service_ns")
_MOST_OPS = 128
_TO_GROUP = np.uint64(64 - (STRETCHES - 1).bit_length())
"""Sizes are also kept apart by group of keys: a key tends to keep its size, so that a few hot keys decide the law."""


class Ops:
    """How often each op comes, by stretch of the trace."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._codes: dict[str, int] = {}
        self._stretched = Stretched(_MOST_OPS)

    def add(self, column: pa.DictionaryArray, rows: Ints) -> None:
        words = column.dictionary.to_pylist()
        codes = np.array([self._codes.setdefault(word, len(self._codes)) for word in words], dtype=np.int64)
        used = column.indices.to_numpy()
        for word, count in zip(words, np.bincount(used, minlength=len(words)).tolist(), strict=True):
            if count:
                self.counts[word] += count
        self._stretched.add(codes[used], rows)

    def by_stretch(self) -> dict[str, npt.NDArray[np.float64]]:
        weights = self._stretched.weights()
        return {} if weights is None else {word: weights[:, self._codes[word]] for word in sorted(self.counts)}


class Objects:
    """Whatever is asked for again and again: keys, blocks of a prefix, sessions."""

    def __init__(self) -> None:
        self.counts = KeyCounts()
        self.reuse = Reuse()
        self.count = 0

    def add(self, ids: npt.NDArray[np.unsignedinteger], arrival_ns: Ints, rows: Ints) -> None:
        self.count += len(ids)
        self.counts.add(ids)
        self.reuse.add(ids, arrival_ns, rows)


@dataclass
class Portrait:
    """Add canonical batches in order."""

    meta: TraceMeta
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0
    gaps: Gaps = field(default_factory=Gaps)
    scales: Scales = field(default_factory=Scales)
    ops: Ops = field(default_factory=Ops)
    columns: dict[str, Column] = field(default_factory=dict)
    keys: Objects = field(default_factory=Objects)
    working_set: Distinct = field(default_factory=Distinct)
    blocks: Objects = field(default_factory=Objects)
    blocks_of_request: Column = field(default_factory=Column)
    sessions: Objects = field(default_factory=Objects)
    keys_are: str = ""
    """What a key is here: key_id, or the target where the first requests have no key. "": neither."""

    def __post_init__(self) -> None:
        self.series = SeriesOfCounts(self.meta.arrival_resolution_ns)

    @property
    def span_ns(self) -> int:
        return self.last_ns - self.first_ns

    def add(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        arrival = ints(batch, "arrival_ns")
        rows = np.arange(self.rows, self.rows + batch.num_rows)
        if not self.rows:
            self.first_ns = int(arrival[0])
            self.keys_are = next((name for name in ("key_id", "target") if present(batch, name).any()), "")
        self.rows, self.last_ns = self.rows + batch.num_rows, int(arrival[-1])
        self.gaps.add(arrival, rows)
        self.scales.add(arrival + self.meta.source_offset_ns)
        self.series.add(arrival)
        self.ops.add(batch.column("op"), rows)
        groups = None
        if self.keys_are:
            known = present(batch, self.keys_are)
            every = ints(batch, "key_id") if self.keys_are == "key_id" else _targets(batch.column("target"))
            groups = (mix_all(every) >> _TO_GROUP).astype(np.int64)
            self.keys.add(every[known], arrival[known], rows[known])
            self.working_set.add(every[known], arrival[known])
        for name in COLUMNS:
            self._add_column(name, ints(batch, name), present(batch, name), rows, groups)
        if self.meta.kinds == ("block",):
            asked, given = present(batch, "req_bytes"), present(batch, "resp_bytes")
            length = np.where(asked, ints(batch, "req_bytes"), ints(batch, "resp_bytes"))
            self._add_column("length", length, asked | given, rows, groups)
        self._add_prefixes(batch.column("prefix_hashes"), arrival, rows)
        known = present(batch, "session_id")
        if known.any():
            self.sessions.add(ints(batch, "session_id")[known], arrival[known], rows[known])

    def _add_column(
        self, name: str, values: npt.NDArray[np.integer], known: npt.NDArray[np.bool_], rows: Ints, groups: Ints | None
    ) -> None:
        if not known.any():
            return
        column = self.columns.setdefault(name, Column())
        if known.all():
            column.add(values, rows, groups)
        else:
            column.add(values[known], rows[known], None if groups is None else groups[known])

    def _add_prefixes(self, column: pa.ListArray, arrival: Ints, rows: Ints) -> None:
        if column.null_count == len(column):
            return
        lengths = column.value_lengths()
        known = lengths.is_valid().to_numpy(zero_copy_only=False)
        counts = lengths.fill_null(0).to_numpy().astype(np.int64)
        self.blocks_of_request.add(counts[known], rows[known])
        self.blocks.add(column.flatten().to_numpy(), np.repeat(arrival, counts), np.repeat(rows, counts))


def _targets(column: pa.DictionaryArray) -> U64:
    """An identity for the target of each row; that of a row without one means nothing."""
    ids = np.array([key_of(word) for word in column.dictionary.to_pylist()] or [0], dtype=np.uint64)
    found: U64 = ids[column.indices.fill_null(0).to_numpy()]
    return found


def portrait_of(trace: Trace) -> Portrait:
    """Reads the trace once. Raises InvalidInput for one without rows or without an end."""
    if not trace.bounded:
        raise InvalidInput(f"{trace.meta.name}: a synthesis without an end; expected a length; add ,for=10s or ,rows=N")
    portrait = Portrait(trace.meta)
    for batch in trace.batches():
        portrait.add(batch)
    if not portrait.rows:
        raise InvalidInput(f"{trace.meta.name}: no rows; expected at least one request; check the file")
    return portrait
