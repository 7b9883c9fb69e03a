"""CacheLib's key-value csv (Meta). A row stands for op_count operations on one key, and is expanded to as
many requests.

Releases differ in their columns' order and some have no times at all: columns are found by the header's
names. GET_LEASE and SET_LEASE fold into get and set. A get of size 0 was a miss: its size is unknown, not
zero.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.columns import key_ids, times_in
from traces.formats.counted import counts_in, expanded
from traces.formats.delimited import csv_batches, header_with, required
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.traffic import OPTION, traffic_factor
from traces.schema import NAME, OPS, TraceMeta, masked
from traces.stream import Trace

NEEDED = {
    "key": pa.utf8(),
    "op": pa.utf8(),
    "op_count": pa.int64(),
    "size": pa.int64(),
    "key_size": pa.int64(),
}
OPTIONAL = {"op_time": pa.int64(), "ttl": pa.int64(), "cache_hits": pa.int64(), "usecase": pa.utf8()}
FOLDED = {"get_lease": "get", "set_lease": "set"}
READS = ("get", "gets")
_LONGEST_S = 2**43


class MetaKv:
    name = "meta_kv"
    summary = "CacheLib / Meta key-value csv, either column order; op_count is expanded; one-second stamps or none"

    def sniff(self, path: Path, head: bytes) -> int:
        names = set(head.split(b"\n", 1)[0].decode(errors="replace").strip().split(","))
        return 3 if names >= NEEDED.keys() else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", OPTION), self.name)
        header = header_with(path, NEEDED)
        types = {**NEEDED, **{name: kind for name, kind in OPTIONAL.items() if name in header}}
        meta = TraceMeta(
            kinds=("kv",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            traffic_factor=traffic_factor(path, options),
            loss_notes="leases are folded into get and set; op_count operations are as many requests",
        )
        return file_trace(path, meta, lambda: _read(path, types), options)


def _read(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, types):
        for name in ("key", "op"):
            required(batch, name, path, done)
        for rows, nth in expanded(counts_in(batch, "op_count", path, done)):
            yield _chunk(path, batch.take(pa.array(rows)), nth, rows + done + 2)
        done += batch.num_rows


def _chunk(path: Path, batch: pa.RecordBatch, nth: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]) -> Chunk:
    ops = batch.column("op").dictionary_encode()
    names = [FOLDED.get(name.lower(), name.lower()) for name in ops.dictionary.to_pylist()]
    for index, name in enumerate(names):
        if name not in OPS["kv"]:
            line = lines[np.flatnonzero(ops.indices.to_numpy() == index)[0]]
            raise InvalidInput(
                f"{path}: line {line}: op {ops.dictionary[index].as_py()!r}; expected one of "
                f"{', '.join(OPS['kv'])}, GET_LEASE or SET_LEASE; correct the file"
            )
    is_read = np.array([name in READS for name in names])[ops.indices.to_numpy()]
    unique = list(dict.fromkeys(names))
    folded = pa.array(np.array([unique.index(name) for name in names], dtype=np.int8)[ops.indices.to_numpy()])
    size = batch.column("size").fill_null(0).to_numpy()
    known = batch.column("size").is_valid().to_numpy(zero_copy_only=False)
    chunk: Chunk = {
        "kind": "kv",
        "op": pa.DictionaryArray.from_arrays(folded, pa.array(unique)).cast(NAME),
        "key_id": key_ids(batch.column("key")),
        "key_bytes": batch.column("key_size").cast(pa.uint32()),
        "req_bytes": masked(size, known & ~is_read),
        "resp_bytes": masked(size, known & is_read & (size > 0)),
    }
    if "cache_hits" in batch.schema.names:
        hits = batch.column("cache_hits").fill_null(0).to_numpy()
        hit = nth < hits  # which of the op_count hit is not said: the first ones stand for them
        chunk["cache_hit"] = masked(hit, is_read)
        chunk["resp_bytes"] = masked(size, known & is_read & (size > 0) & hit)
    if "op_time" in batch.schema.names:
        first = int(lines[0]) - 2
        chunk["arrival_ns"] = times_in(required(batch, "op_time", path, first), "s", f"{path}: op_time", first).to_numpy()
    if "ttl" in batch.schema.names:
        ttl_s = batch.column("ttl").fill_null(0).to_numpy()
        chunk["ttl_ms"] = masked(np.minimum(ttl_s, _LONGEST_S) * 1000, (ttl_s > 0) & ~is_read)
    if "usecase" in batch.schema.names:
        chunk["tenant"] = batch.column("usecase")
    return chunk


FORMAT = MetaKv()
