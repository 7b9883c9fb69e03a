"""Block traces of Tencent Cloud's virtual disks (2018; SNIA IOTTA), csv without a header: timestamp (s since 1970), offset, size (both in
sectors of 512 bytes), ioType (0 reads, 1 writes), volumeId. One row is one request of a disk. http://iotta.snia.org/traces/parallel/27917
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
    types={"timestamp": pa.int64(), "offset": pa.int64(), "size": pa.int64(), "ioType": pa.int64(), "volumeId": pa.utf8()},
    order=("timestamp", "offset", "size", "ioType", "volumeId"),
)
SECTOR_BYTES = 512
_MOST_SECTORS = 2**62 // SECTOR_BYTES


class TencentBlock:
    name = "tencent_block"
    summary = "Tencent Cloud block csv without header (s, offset, size, 0 or 1, volume): reads and writes; one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        row = first_row(head)
        bare = len(row) == 5 and all(word.isdigit() for word in row) and len(row[0]) == 10 and row[3] in ("0", "1")
        return 3 if bare or not TABLE.missing(row) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("block",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license="SNIA Trace Data Files Download License",
            shareable="local-only",
            citation="Zhang et al., OSCA: An Online-Model Based Cache Allocation Scheme in Cloud Block Storage Systems, USENIX ATC 2020",
        )
        return file_trace(path, meta, lambda: _read(path), options, clock="unix")


def _read(path: Path) -> Iterator[Chunk]:
    for lot in lots(path, TABLE):
        kind, sector, sectors = (lot.needed(name).to_numpy() for name in ("ioType", "offset", "size"))
        lot.refuse((kind != 0) & (kind != 1), "an unknown ioType", "0 for a read or 1 for a write")
        beyond = (np.minimum(sector, sectors) < 0) | (np.maximum(sector, sectors) > _MOST_SECTORS)
        lot.refuse(beyond, "an offset or size beyond bounds", "sectors of 512 bytes from 0")
        write = kind == 1
        yield {
            "arrival_ns": lot.stamps("timestamp"),
            "kind": "block",
            "op": pc.if_else(pa.array(write), "write", "read"),
            "target": lot.needed("volumeId"),
            "key_id": sector.astype(np.uint64),
            "offset_bytes": sector * SECTOR_BYTES,
            "req_bytes": masked(sectors * SECTOR_BYTES, write),
            "resp_bytes": masked(sectors * SECTOR_BYTES, ~write),
        }


FORMAT = TencentBlock()
