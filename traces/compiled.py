"""A compiled trace as agents read it: checked, sharded, and the keys to store before a replay.

Never writes; `traces.compile` does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import mix_all
from traces.errors import InvalidInput
from traces.formats.parquet import canonical_batches, canonical_meta, canonical_trace, open_parquet
from traces.schema import BATCH_ROWS, SCHEMA, batch_of, ints, present
from traces.stream import Trace
from traces.transforms.shard import part_of


@dataclass(frozen=True)
class Compiled:
    """A compiled trace. `rate_per_s` is rows over the asked duration; `facts` is for reading, `notes` are for
    a person.
    """

    path: Path
    sha256: str
    rows: int
    bytes: int
    span_ns: int  # last arrival - first arrival
    rate_per_s: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_compiled(path: Path) -> Trace:
    """A compiled trace again. Raises InvalidInput for a file that is cut short or none of offspec's."""
    if not path.is_file():
        raise InvalidInput(f"{path}: no such file; expected a compiled trace; fetch or compile it again")
    with open_parquet(path) as file:
        meta = canonical_meta(path, file)
        rows = file.metadata.num_rows
    if meta is None:
        raise InvalidInput(f"{path}: not a compiled trace; expected one written by offspec; import it first")
    if meta.rows != rows:
        raise InvalidInput(f"{path}: {rows} rows, its metadata says {meta.rows}; expected the same; compile it again")
    return canonical_trace(path, meta, rows)


def shard_batches(path: Path, shard: int = 0, shards: int = 1) -> pa.RecordBatchReader:
    """One agent's requests of a compiled trace, as an Arrow stream in constant memory. All shards together
    are the trace, and all requests of a key are in one shard. Raises InvalidInput.
    """
    _check_shard(path, shard, shards)
    open_compiled(path)

    def parts() -> Iterator[pa.RecordBatch]:
        for batch in canonical_batches(path):
            part = part_of(batch, shard, shards)
            if part.num_rows:
                yield part

    return pa.RecordBatchReader.from_batches(SCHEMA, parts())


def preload_rows(path: Path, shard: int = 0, shards: int = 1) -> pa.Table:
    """`set` requests that store each distinct key of a shard once, at the size that one of its requests knows,
    drawn by a hash: the mean over a key's requests stays, where the largest would make hot keys large.

    A key whose size nobody knows is left out: its gets miss, as they did in the source. Memory is that of the
    distinct keys, twice. Raises InvalidInput for a trace that is not of key-value requests.
    """
    _check_shard(path, shard, shards)
    trace = open_compiled(path)
    if trace.meta.kinds != ("kv",):
        raise InvalidInput(
            f"{path}: a trace of kind {', '.join(trace.meta.kinds) or 'unknown'} has nothing to preload; expected kv; set preload to false"
        )
    stored = _Keys()
    for whole in trace.batches():
        stored.add(part_of(whole, shard, shards))
    keys, sizes, lengths, _ = stored.merged()
    batches = []
    for at in range(0, len(keys), BATCH_ROWS):
        rows = slice(at, min(len(keys), at + BATCH_ROWS))
        seq = np.arange(rows.start, rows.stop, dtype=np.uint64)
        columns = {
            "arrival_ns": np.zeros(len(seq), dtype=np.int64),
            "seq": seq,
            "kind": "kv",
            "op": "set",
            "key_id": keys[rows],
            "key_bytes": lengths[rows],
            "req_bytes": sizes[rows],
        }
        batches.append(batch_of(columns, len(seq)))
    return pa.Table.from_batches(batches, schema=SCHEMA)


def _check_shard(path: Path, shard: int, shards: int) -> None:
    if not 0 <= shard < shards:
        raise InvalidInput(f"{path}: shard {shard} of {shards}; expected 0 to {shards - 1}")


_Row = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.uint64]]


class _Keys:
    """Distinct keys with the size of one of their requests, that of the least draw. Merges only once as much is new as is known, so
    that each key is sorted a logarithmic number of times.
    """

    def __init__(self) -> None:
        self._parts: list[_Row] = []
        self._known = self._new = 0

    def add(self, batch: pa.RecordBatch) -> None:
        size = np.maximum(ints(batch, "req_bytes", -1), ints(batch, "resp_bytes", -1))
        known = present(batch, "key_id") & (size >= 0)
        draws = mix_all(ints(batch, "seq")[known])
        self._parts.append((ints(batch, "key_id")[known], size[known], ints(batch, "key_bytes", 16)[known], draws))
        self._new += int(known.sum())
        if self._new > max(self._known, 4 * BATCH_ROWS):
            self.merged()

    def merged(self) -> _Row:
        """Sorted by key."""
        if not self._parts:
            return np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0, np.uint64)
        keys, sizes, lengths, draws = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        order = np.lexsort((draws, keys))
        first = order[np.diff(keys[order], prepend=~keys[order[:1]]) != 0] if len(order) else order
        row = (keys[first], sizes[first], lengths[first], draws[first])
        self._parts, self._known, self._new = [row], len(row[0]), 0
        return row
