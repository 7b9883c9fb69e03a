"""MSR Cambridge's block traces (SNIA IOTTA), csv without a header: Timestamp (100 ns since 1601), Hostname, DiskNumber, Type (Read,
Write), Offset, Size (bytes), ResponseTime (100 ns). One row is one request of a volume. http://iotta.snia.org/traces/block-io/388
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.delimited import csv_batches
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import NAME, TraceMeta, masked
from traces.stream import Trace

TYPES = {
    "Timestamp": pa.int64(), "Hostname": pa.utf8(), "DiskNumber": pa.utf8(), "Type": pa.utf8(), "Offset": pa.int64(), "Size": pa.int64(),
    "ResponseTime": pa.int64(),
}  # fmt: skip
_UNIX_EPOCH_TICKS = 116_444_736_000_000_000
_LATEST_TICKS = _UNIX_EPOCH_TICKS + 2**62 // 100
_SECTOR = 512


class MsrCambridge:
    name = "msr_cambridge"
    summary = "MSR Cambridge block csv without header: reads and writes of volumes, stamps of 100 ns"

    def sniff(self, path: Path, head: bytes) -> int:
        line = head.split(b"\n", 1)[0].strip().split(b",")
        if len(line) != 7 or line[3].lower() not in (b"read", b"write"):
            return 0
        return 3 if all(line[at].isdigit() for at in (0, 2, 4, 5, 6)) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("block",),
            importer=self.name,
            arrival_resolution_ns=100,
            license="SNIA Trace Data Files Download License",
            shareable="local-only",
            citation="Narayanan et al., Write Off-Loading, FAST 2008",
        )
        return file_trace(path, meta, lambda: _read(path), options, clock="unix")


def _read(path: Path) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, TYPES, names=list(TYPES)):
        for name in TYPES:
            if batch.column(name).null_count:
                row = int(np.flatnonzero(batch.column(name).is_null().to_numpy(zero_copy_only=False))[0])
                raise InvalidInput(f"{path}: line {done + row + 1}: {name} is empty; expected a value in each row; correct the file")
        ticks, offset, size = (batch.column(name).to_numpy() for name in ("Timestamp", "Offset", "Size"))
        op = pc.utf8_lower(batch.column("Type"))
        known = pc.is_in(op, pa.array(["read", "write"])).to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(~known | (ticks < _UNIX_EPOCH_TICKS) | (ticks > _LATEST_TICKS) | (offset < 0) | (size < 0))
        if wrong.size:
            raise InvalidInput(
                f"{path}: line {done + int(wrong[0]) + 1}: expected Read or Write, a stamp of 100 ns since 1601, "
                "and an offset and a size from 0; correct the file or name another --format"
            )
        write = pc.equal(op, "write").to_numpy(zero_copy_only=False)
        done += batch.num_rows
        yield {
            "arrival_ns": (ticks - _UNIX_EPOCH_TICKS) * 100,
            "kind": "block",
            "op": op.dictionary_encode().cast(NAME),
            "tenant": batch.column("Hostname"),
            "target": pc.binary_join_element_wise(batch.column("Hostname"), batch.column("DiskNumber"), "/"),
            "key_id": (offset // _SECTOR).astype(np.uint64),
            "offset_bytes": offset,
            "req_bytes": masked(size, write),
            "resp_bytes": masked(size, ~write),
            "observed_ns": pc.multiply(batch.column("ResponseTime"), 100),
        }


FORMAT = MsrCambridge()
