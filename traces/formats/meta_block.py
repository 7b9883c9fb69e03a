"""Meta's block storage traces (Tectonic, release storage/202312) as CacheLib's block_chunk replay reads them: csv found by its header's
names, op_time (s, Unix), block_id, block_id_size (bytes of the key), io_size and io_offset (bytes, within the block), op_name
(getChunkData.* reads, putChunk.* writes), op_count, user_name, user_namespace, host_name, rs_shard_id.

A row stands for op_count operations in that second, and is expanded to as many requests. CacheLib's object is a block's shard: the key is
block_id and rs_shard_id together, as it spells them. https://cachelib.org, "Evaluating SSD hardware for Facebook workloads"
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.columns import key_ids, times_in
from traces.formats.counted import counts_in, expanded
from traces.formats.delimited import csv_batches, header_with, required
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import first_row
from traces.formats.traffic import OPTION, traffic_factor
from traces.schema import NAME, TraceMeta, masked
from traces.stream import Trace

NEEDED = {"block_id": pa.utf8(), "io_size": pa.int64(), "io_offset": pa.int64(), "op_name": pa.utf8(), "op_count": pa.int64()}
OPTIONAL = {
    **dict.fromkeys(("op_time", "block_id_size"), pa.int64()),
    **dict.fromkeys(("user_name", "user_namespace", "host_name", "rs_shard_id"), pa.utf8()),
}
NAMED = {"user_name": "tenant", "user_namespace": "target", "host_name": "client"}


class MetaBlock:
    name = "meta_block"
    summary = "Meta block storage csv of CacheLib (Tectonic): reads and writes of blocks; op_count is expanded; one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if set(first_row(head)) >= NEEDED.keys() else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", OPTION), self.name)
        header = header_with(path, NEEDED)
        types = {**NEEDED, **{name: kind for name, kind in OPTIONAL.items() if name in header}}
        meta = TraceMeta(
            kinds=("block",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            traffic_factor=traffic_factor(path, options),
            license="Apache-2.0",
            shareable="attribution",
            citation="Berg et al., CacheLib, OSDI 2020; Wong et al., Baleen, FAST 2024",
            loss_notes="op_count operations are as many requests; offsets are within a block",
        )
        return file_trace(path, meta, lambda: _read(path, types), options, clock="unix")


def _read(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, types):
        for name in ("block_id", "op_name", "io_size", "io_offset"):
            required(batch, name, path, done)
        ops = batch.column("op_name")
        read, write = (pc.starts_with(ops, pattern).to_numpy(zero_copy_only=False) for pattern in ("getChunkData", "putChunk"))
        if not (read | write).all():
            row = int(np.flatnonzero(~(read | write))[0])
            raise InvalidInput(
                f"{path}: line {done + row + 2}: op_name {ops[row].as_py()[:40]!r}; expected getChunkData.* or putChunk.*; correct the line"
            )
        key = batch.column("block_id")
        if "rs_shard_id" in types:
            shard = pc.utf8_lpad(pc.fill_null(batch.column("rs_shard_id"), ""), width=3, padding="0")
            key = pc.binary_join_element_wise(key, shard, "_")
        whole = _columns(path, batch, types, write, key_ids(key), done)
        for rows, _ in expanded(counts_in(batch, "op_count", path, done)):
            taken = pa.array(rows)
            yield {name: column.take(taken) for name, column in whole.items()} | {"kind": "block"}
        done += batch.num_rows


def _columns(
    path: Path, batch: pa.RecordBatch, types: Mapping[str, pa.DataType], write: npt.NDArray[np.bool_], keys: pa.Array, done: int
) -> dict[str, pa.Array]:
    size = batch.column("io_size").to_numpy()
    columns = {
        "op": pa.DictionaryArray.from_arrays(pa.array(write.astype(np.int8)), pa.array(["read", "write"])).cast(NAME),
        "key_id": keys,
        "offset_bytes": batch.column("io_offset"),
        "req_bytes": masked(size, write),
        "resp_bytes": masked(size, ~write),
    }
    if "op_time" in types:
        columns["arrival_ns"] = times_in(required(batch, "op_time", path, done), "s", f"{path}: op_time", done)
    if "block_id_size" in types:
        columns["key_bytes"] = batch.column("block_id_size")
    return columns | {canonical: batch.column(name) for name, canonical in NAMED.items() if name in types}


FORMAT = MetaBlock()
