"""The traces of the ARC paper (FAST 2003), text of four numbers a line: first block, number of blocks, ignored, number of the request.

A line stands for that many reads of one block each. There are no times at all: a replay places the requests at a rate.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from traces.errors import InvalidInput
from traces.formats.bytes_in import line_lots
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import BATCH_ROWS, TraceMeta
from traces.stream import Trace

BLOCK_BYTES = 512


class Arc:
    name = "arc"
    summary = "ARC .lis: runs of block reads in order, without times"

    def sniff(self, path: Path, head: bytes) -> int:
        lines = head.split(b"\n")[:20]
        rows = [line.split() for line in (lines[:-1] if len(lines) > 1 else lines)]
        right = bool(rows) and all(len(row) == 4 and all(word.isdigit() for word in row) for row in rows)
        return (3 if ".lis" in path.name.lower() else 2) if right else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, (), self.name)
        meta = TraceMeta(
            kinds=("block",),
            importer=self.name,
            license="free to use where the ARC paper is cited",
            shareable="attribution",
            citation="Megiddo and Modha, ARC, FAST 2003",
            loss_notes=f"a line of n blocks is n reads of {BLOCK_BYTES} bytes; there are no times",
        )
        return file_trace(path, meta, lambda: _read(path), options)


def _read(path: Path) -> Iterator[Chunk]:
    for lot in line_lots(path, "runs of blocks"):
        kept = [(number, line.split()) for number, line in enumerate(lot.lines, lot.first) if line.strip()]
        for number, row in kept:
            if len(row) != 4 or not all(word.isdigit() and len(word) < 17 for word in row) or not 0 < int(row[1]) < 2**24:
                raise InvalidInput(
                    f"{path}: line {number}: {b' '.join(row)[:60].decode(errors='replace')!r}; expected "
                    "first block, number of blocks from 1, 0, number of the request; correct the line or name another --format"
                )
        first = np.array([int(row[0]) for _, row in kept], dtype=np.int64)
        ends = np.cumsum(np.array([int(row[1]) for _, row in kept], dtype=np.int64))
        for start in range(0, int(ends[-1]) if len(ends) else 0, BATCH_ROWS):
            at = np.arange(start, min(start + BATCH_ROWS, int(ends[-1])))
            run = np.searchsorted(ends, at, side="right")
            block = first[run] + at - np.concatenate(([0], ends))[run]
            yield {
                "kind": "block",
                "op": "read",
                "key_id": block.astype(np.uint64),
                "offset_bytes": block * BLOCK_BYTES,
                "resp_bytes": np.full(len(block), BLOCK_BYTES, dtype=np.int64),
            }


FORMAT = Arc()
