"""VMware vscsiStats, version 1: 32-byte records with microsecond stamps, real commands and lengths.

One row is one SCSI read or write; the sector is the identity of what is accessed. Version 2 is refused.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import record_rows, records
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import NAME, TraceMeta, masked
from traces.stream import Trace

RECORD = np.dtype(
    [
        ("sn", "<u4"), ("length", "<u4"), ("sg", "<u4"), ("command", "<u2"), ("version", "<u2"),
        ("sector", "<u8"), ("ts_us", "<u8"),
    ]
)  # fmt: skip
SECTOR_BYTES = 512
READ, WRITE, FLUSH, TRIM = 0, 1, 2, 3
OPS = pa.array(["read", "write", "flush", "trim"])
COMMANDS = {
    0x08: READ, 0x28: READ, 0xA8: READ, 0x88: READ,
    0x0A: WRITE, 0x2A: WRITE, 0xAA: WRITE, 0x8A: WRITE,
    0x35: FLUSH, 0x91: FLUSH, 0x42: TRIM, 0x41: TRIM, 0x93: TRIM,
}  # fmt: skip
_LATEST_US = (2**63 - 1) // 1000
_OP_OF = np.full(1 << 16, -1, dtype=np.int8)
_OP_OF[list(COMMANDS)] = list(COMMANDS.values())


class Vscsi:
    name = "vscsi"
    summary = "VMware vscsiStats version 1, 32-byte records: block reads and writes with microsecond stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        rows = np.frombuffer(head[: len(head) // RECORD.itemsize * RECORD.itemsize], dtype=RECORD)
        if not len(rows) or (rows["version"] >> 8 != 1).any():
            return 0
        return 3 if (_OP_OF[rows["command"]] >= 0).all() else 1

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "other"), self.name)
        other = options.get("other", "refuse")
        if other not in ("refuse", "skip"):
            raise InvalidInput(f"{path}: option other: {other!r}; expected refuse or skip")
        rows = record_rows(path, RECORD.itemsize, self.name)
        meta = TraceMeta(
            kinds=("block",),
            importer=self.name,
            arrival_resolution_ns=1_000,
            loss_notes="commands that are neither read, write, flush nor trim are left out" if other == "skip" else "",
        )
        return file_trace(path, meta, lambda: _read(path, other == "skip"), options, None if other == "skip" else rows)


def _read(path: Path, skip_other: bool) -> Iterator[Chunk]:
    for at, rows in records(path, RECORD, "vscsi"):
        op = _OP_OF[rows["command"]]
        _refuse(path, at, rows["version"] >> 8 != 1, "its version is not 1", "convert the file to version 1")
        _refuse(path, at, rows["ts_us"] > _LATEST_US, "its stamp is beyond 292 years", "fetch the file again")
        if skip_other:
            rows, op = rows[op >= 0], op[op >= 0]
        _refuse(
            path,
            at,
            op < 0,
            "its command neither reads, writes, flushes nor trims",
            "skip such with option other=skip",
        )
        length = rows["length"].astype(np.int64)
        yield {
            "arrival_ns": rows["ts_us"].astype(np.int64) * 1_000,
            "kind": "block",
            "op": pa.DictionaryArray.from_arrays(pa.array(op), OPS).cast(NAME),
            "key_id": rows["sector"].copy(),
            "offset_bytes": (rows["sector"] * np.uint64(SECTOR_BYTES)).astype(np.int64),
            "req_bytes": masked(length, op == WRITE),
            "resp_bytes": masked(length, op == READ),
        }


def _refuse(path: Path, at: int, bad: npt.NDArray[np.bool_], what: str, remedy: str) -> None:
    if bad.any():
        byte = at + int(np.flatnonzero(bad)[0]) * RECORD.itemsize
        raise InvalidInput(f"{path}: byte {byte}: {what}; expected a vscsi record; {remedy}")


FORMAT = Vscsi()
