"""libCacheSim's oracleGeneral: 24-byte packed records u32 ts (s), u64 object, u32 size, i64 next access.

The size is the one first seen for the object in files made from block traces, and nothing says whether a
record reads or writes: rows become `get`s, and the trace's notes say so.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from traces.errors import InvalidInput
from traces.formats.bytes_in import record_rows, records
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace

RECORD = np.dtype([("ts_s", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])
NEVER = np.iinfo(np.int64).max
_MOST_ROWS = 2**44
"""Beyond any trace there is: a higher row number means that the bytes are something else."""


class OracleGeneral:
    name = "oracle_general"
    summary = "libCacheSim oracleGeneral, 24-byte records (also .zst, .gz): key-value gets with one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        rows = np.frombuffer(head[: len(head) // RECORD.itemsize * RECORD.itemsize], dtype=RECORD)
        if not len(rows) or _bad_next(rows, 0).any() or (np.diff(rows["ts_s"].astype(np.int64)) < 0).any():
            return 0
        if ((rows["next"] > _MOST_ROWS) & (rows["next"] != NEVER)).any():
            return 0
        named = "oraclegeneral" in path.name.lower()
        return 3 if named else (2 if len(rows) > 8 and (rows["next"] == -1).any() else 1)

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        rows = record_rows(path, RECORD.itemsize, self.name)
        meta = TraceMeta(
            kinds=("kv",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            loss_notes="ops are unknown and stand as get; sizes are those first seen for each object",
        )
        return file_trace(path, meta, lambda: _read(path), options, rows)


def _bad_next(rows: npt.NDArray[np.void], first: int) -> npt.NDArray[np.bool_]:
    """`next` counts from 0 or from 1, so it is at least one more than this row's own number; -1 or INT64_MAX
    is never.
    """
    own = np.arange(first, first + len(rows))
    result: npt.NDArray[np.bool_] = (rows["next"] != -1) & (rows["next"] <= own)
    return result


def _read(path: Path) -> Iterator[Chunk]:
    for at, rows in records(path, RECORD, "oracle_general"):
        bad = np.flatnonzero(_bad_next(rows, at // RECORD.itemsize))
        if len(bad):
            raise InvalidInput(
                f"{path}: byte {at + int(bad[0]) * RECORD.itemsize}: next access "
                f"{int(rows['next'][bad[0]])} lies before its own record; expected a later record or -1; "
                "the file is damaged or of another --format"
            )
        yield {
            "arrival_ns": rows["ts_s"].astype(np.int64) * 1_000_000_000,
            "kind": "kv",
            "op": "get",
            "key_id": rows["object"].copy(),
            "resp_bytes": rows["size"].astype(np.int64),
        }


FORMAT = OracleGeneral()
