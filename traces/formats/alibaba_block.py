"""Block traces of Alibaba Cloud's virtual disks (2020), csv without a header: device_id, opcode (R, W), offset, length (bytes), timestamp
(microseconds since 1970). One row is one request of a disk. https://github.com/alibaba/block-traces
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import Table, first_row, lots
from traces.schema import TraceMeta, masked
from traces.stream import Trace

TABLE = Table(
    types={"device_id": pa.utf8(), "opcode": pa.utf8(), "offset": pa.int64(), "length": pa.int64(), "timestamp": pa.int64()},
    order=("device_id", "opcode", "offset", "length", "timestamp"),
)
_SECTOR = 512


class AlibabaBlock:
    name = "alibaba_block"
    summary = "Alibaba Cloud block csv without header (device, R or W, offset, length, us): reads and writes of volumes"

    def sniff(self, path: Path, head: bytes) -> int:
        row = first_row(head)
        bare = len(row) == 5 and row[1] in ("R", "W") and all(row[at].isdigit() for at in (0, 2, 3, 4))
        return 3 if bare or not TABLE.missing(row) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("block",),
            importer=self.name,
            arrival_resolution_ns=1_000,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Li et al., An In-Depth Analysis of Cloud Block Storage Workloads in Large-Scale Production, IISWC 2020",
        )
        return file_trace(path, meta, lambda: _read(path), options, clock="unix")


def _read(path: Path) -> Iterator[Chunk]:
    for lot in lots(path, TABLE):
        code = lot.needed("opcode")
        lot.refuse(~pc.is_in(code, pa.array(["R", "W"])).to_numpy(zero_copy_only=False), "an unknown opcode", "R or W")
        write = pc.equal(code, "W").to_numpy(zero_copy_only=False)
        offset, length = (lot.needed(name).to_numpy() for name in ("offset", "length"))
        lot.refuse((offset < 0) | (length < 0), "a negative offset or length", "bytes from 0")
        yield {
            "arrival_ns": lot.stamps("timestamp", "us"),
            "kind": "block",
            "op": pc.if_else(pa.array(write), "write", "read"),
            "target": lot.needed("device_id"),
            "key_id": (offset // _SECTOR).astype(np.uint64),
            "offset_bytes": offset,
            "req_bytes": masked(length, write),
            "resp_bytes": masked(length, ~write),
        }


FORMAT = AlibabaBlock()
