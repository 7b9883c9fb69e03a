"""libCacheSim's own `lcs` traces, versions 1 to 8: a header of 8,192 bytes and packed little-endian records.

The header: u64 magic, u64 version, 8,000 bytes of statistics, 168 unused, u64 magic. Version 1 is oracleGeneral's record (u32 time in s,
u64 object, u32 size, i64 next access), 2 adds u8 operation and u24 tenant, 3 has sizes of 64 bits and a u32 TTL (s), 4 to 8 add 1, 2, 4, 8
or 16 features, which are left aside. Operation 0 is none: it stands as get.
https://github.com/1a1a11a/libCacheSim, traceReader/customizedReader/lcs.h
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of, opened
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.twr import OPERATIONS
from traces.schema import BATCH_ROWS, NAME, TraceMeta, masked
from traces.stream import Trace

MAGIC = (0x123456789ABCDEF0).to_bytes(8, "little")
HEADER_BYTES = 8192
_FEATURES = {4: 1, 5: 2, 6: 4, 7: 8, 8: 16}
_SECOND = [("ts_s", "<u4"), ("object", "<u8")]
VERSIONS: dict[int, np.dtype[np.void]] = {
    1: np.dtype([*_SECOND, ("size", "<u4"), ("next", "<i8")]),
    2: np.dtype([*_SECOND, ("size", "<u4"), ("op_tenant", "<u4"), ("next", "<i8")]),
    **{
        version: np.dtype(
            [
                *_SECOND,
                ("size", "<i8"),
                ("op_tenant", "<u4"),
                ("ttl_s", "<u4"),
                ("next", "<i8"),
                ("features", "<u4", _FEATURES.get(version, 0)),
            ]
        )
        for version in range(3, 9)
    },
}
_BLOCK_OPERATIONS = ("get", "set", "set")
"""READ, WRITE and UPDATE, which follow the eleven of key-value caches."""
_NAMES = ("get", *OPERATIONS, *_BLOCK_OPERATIONS)


class Lcs:
    name = "lcs"
    summary = "libCacheSim lcs, versions 1 to 8 (also .zst): key-value operations, one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if head.startswith(MAGIC) and head[HEADER_BYTES - 8 : HEADER_BYTES] == MAGIC else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        record = _record(path)
        notes = "ops are unknown and stand as get" if "op_tenant" not in (record.names or ()) else "an operation that is none stands as get"
        meta = TraceMeta(kinds=("kv",), importer=self.name, arrival_resolution_ns=1_000_000_000, loss_notes=notes)
        return file_trace(path, meta, lambda: _read(path, record), options)


def _record(path: Path) -> np.dtype[np.void]:
    head = head_of(path, HEADER_BYTES)
    if len(head) < HEADER_BYTES or head[:8] != MAGIC or head[-8:] != MAGIC:
        raise InvalidInput(f"{path}: byte 0: no lcs header of {HEADER_BYTES} bytes; expected its magic at both ends; name another --format")
    version = int.from_bytes(head[8:16], "little")
    if version not in VERSIONS:
        raise InvalidInput(f"{path}: byte 8: lcs version {version}; expected 1 to {max(VERSIONS)}; convert it with libCacheSim's traceConv")
    return VERSIONS[version]


def _read(path: Path, record: np.dtype[np.void]) -> Iterator[Chunk]:
    at = HEADER_BYTES
    with opened(path) as stream:
        stream.read(HEADER_BYTES)
        while data := stream.read(record.itemsize * BATCH_ROWS):
            if rest := len(data) % record.itemsize:
                raise InvalidInput(
                    f"{path}: byte {at + len(data) - rest}: the file ends {rest} bytes into a record; expected records of "
                    f"{record.itemsize} bytes; fetch the file again"
                )
            yield _chunk(path, at, np.frombuffer(data, dtype=record))
            at += len(data)


def _chunk(path: Path, at: int, rows: npt.NDArray[np.void]) -> Chunk:
    names = rows.dtype.names or ()
    size = rows["size"].astype(np.int64)
    chunk: Chunk = {"arrival_ns": rows["ts_s"].astype(np.int64) * 1_000_000_000, "kind": "kv", "key_id": rows["object"].copy()}
    if "op_tenant" not in names:
        return chunk | {"op": "get", "resp_bytes": size}
    op = (rows["op_tenant"] & 0xFF).astype(np.int64)
    if (bad := np.flatnonzero(op >= len(_NAMES))).size:
        raise InvalidInput(
            f"{path}: byte {at + int(bad[0]) * rows.dtype.itemsize}: operation {op[bad[0]]}; expected 0 to {len(_NAMES) - 1}; it is damaged"
        )
    words = list(dict.fromkeys(_NAMES))
    codes = np.array([words.index(name) for name in _NAMES], dtype=np.int8)[op]
    read = np.isin(codes, [words.index("get"), words.index("gets")])
    chunk |= {
        "op": pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words)).cast(NAME),
        "tenant": pa.array(rows["op_tenant"] >> 8).cast(pa.utf8()),
        "req_bytes": masked(size, ~read),
        "resp_bytes": masked(size, read),
    }
    if "ttl_s" in names:
        ttl = rows["ttl_s"].astype(np.int64)
        chunk["ttl_ms"] = masked(ttl * 1000, ~read & (ttl > 0))
    return chunk


FORMAT = Lcs()
