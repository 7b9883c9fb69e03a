"""Twitter's cache traces as libCacheSim's binary `twr`: 20-byte little-endian records, u32 time (s), u64 object, u32 key size (upper 10
bits) and value size (lower 22), u32 operation (upper 8) and TTL in seconds (lower 24).

Operations are libCacheSim's numbers. A value size of 0 on a read was a miss: its size is unknown.
https://github.com/1a1a11a/libCacheSim, traceReader/customizedReader/twrBin.h and include/libCacheSim/enum.h
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import record_rows, records
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import NAME, TraceMeta, masked
from traces.stream import Trace

RECORD = np.dtype([("ts_s", "<u4"), ("object", "<u8"), ("sizes", "<u4"), ("op_ttl", "<u4")])
OPERATIONS = ("get", "gets", "set", "add", "cas", "replace", "append", "prepend", "delete", "incr", "decr")
"""From 1 on."""
_GETS = 2


class Twr:
    name = "twr"
    summary = "libCacheSim twr, 20-byte records of Twitter's cache traces: all key-value operations, one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        rows = np.frombuffer(head[: len(head) // RECORD.itemsize * RECORD.itemsize], dtype=RECORD)
        op = rows["op_ttl"] >> 24
        if not len(rows) or (op < 1).any() or (op > len(OPERATIONS)).any() or (rows["sizes"] >> 22 == 0).any():
            return 0
        if (np.diff(rows["ts_s"].astype(np.int64)) < 0).any():
            return 0
        return 3 if "twr" in path.name.lower() or len(rows) > 8 else 1

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("kv",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Yang, Yue, Rashmi, A large scale analysis of hundreds of in-memory cache clusters at Twitter, OSDI 2020",
            loss_notes="a read of value size 0 was a miss: its size is unknown",
        )
        return file_trace(path, meta, lambda: _read(path), options, record_rows(path, RECORD.itemsize, self.name))


def _read(path: Path) -> Iterator[Chunk]:
    for at, rows in records(path, RECORD, "twr"):
        op = (rows["op_ttl"] >> 24).astype(np.int64)
        bad = np.flatnonzero((op < 1) | (op > len(OPERATIONS)))
        if len(bad):
            raise InvalidInput(
                f"{path}: byte {at + int(bad[0]) * RECORD.itemsize}: operation {op[bad[0]]}; expected 1 to {len(OPERATIONS)}; the file is "
                "damaged or of another --format"
            )
        read = op <= _GETS
        value, ttl = (rows[name].astype(np.int64) & mask for name, mask in (("sizes", 0x3FFFFF), ("op_ttl", 0xFFFFFF)))
        yield {
            "arrival_ns": rows["ts_s"].astype(np.int64) * 1_000_000_000,
            "kind": "kv",
            "op": pa.DictionaryArray.from_arrays(pa.array((op - 1).astype(np.int8)), pa.array(OPERATIONS)).cast(NAME),
            "key_id": rows["object"].copy(),
            "key_bytes": rows["sizes"] >> 22,
            "req_bytes": masked(value, ~read),
            "resp_bytes": masked(value, read & (value > 0)),
            "ttl_ms": masked(ttl * 1000, ~read & (ttl > 0)),
        }


FORMAT = Twr()
