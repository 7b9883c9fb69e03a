"""Meta's CDN traces as CacheLib has them, csv found by its header's names: timestamp (s, Unix), cacheKey, OpType, objectSize,
responseSize, rangeStart, rangeEnd (both included, -1: none), TTL (s), SamplingRate, and in later releases cache_hit (1, 0; others say
nothing). One row is one request for an object or for a range of it.

-1 and 0 sizes, and ranges that end before they begin, say nothing: they are unknown. https://cachelib.org, "Evaluating with real traces"
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.columns import key_ids
from traces.formats.delimited import csv_batches, header_with, required
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.traffic import OPTION, traffic_factor
from traces.schema import TraceMeta, masked
from traces.stream import Trace

NEEDED = {"timestamp": pa.int64(), "cacheKey": pa.utf8(), "responseSize": pa.int64()}
OPTIONAL = {
    **dict.fromkeys(("rangeStart", "rangeEnd", "TTL", "cache_hit", "cacheHit"), pa.int64()),
    "SamplingRate": pa.float64(),
}
_LATEST_S = 2**33


class MetaCdn:
    name = "meta_cdn"
    summary = "Meta CDN csv of CacheLib, any column order: GETs of objects and ranges; one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        names = set(head.split(b"\n", 1)[0].decode(errors="replace").strip().split(","))
        return 3 if names >= NEEDED.keys() else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", OPTION), self.name)
        header = header_with(path, NEEDED)
        types = {**NEEDED, **{name: kind for name, kind in OPTIONAL.items() if name in header}}
        meta = TraceMeta(
            kinds=("http",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            traffic_factor=traffic_factor(path, options),
            sampling_ratio=_sampling(path, types),
            license="Apache-2.0",
            shareable="attribution",
            citation="Berg et al., CacheLib, OSDI 2020",
            loss_notes="sizes of 0 or -1 and ranges that end before they begin are unknown",
        )
        return file_trace(path, meta, lambda: _read(path, types), options, clock="unix")


def _sampling(path: Path, types: Mapping[str, pa.DataType]) -> float:
    if "SamplingRate" in types:
        for batch in csv_batches(path, {"SamplingRate": pa.float64()}):
            rates = batch.column(0).drop_null()
            return float(rates[0].as_py()) if len(rates) else 1.0
    return 1.0


def _read(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, types):
        stamps = required(batch, "timestamp", path, done).to_numpy()
        if (wrong := np.flatnonzero((stamps < 0) | (stamps > _LATEST_S))).size:
            raise InvalidInput(
                f"{path}: line {done + int(wrong[0]) + 2}: timestamp {stamps[wrong[0]]}; expected Unix seconds; correct the file"
            )
        keys = key_ids(required(batch, "cacheKey", path, done))
        size, start, end, ttl_s = (_numbers(batch, name) for name in ("responseSize", "rangeStart", "rangeEnd", "TTL"))
        hit = _numbers(batch, "cache_hit" if "cache_hit" in types else "cacheHit")
        ranged = (start >= 0) & (end >= start)
        done += batch.num_rows
        yield {
            "arrival_ns": stamps * 1_000_000_000,
            "kind": "http",
            "op": "GET",
            "key_id": keys,
            "target": pa.array([f"/{key:x}" for key in keys.to_pylist()]),
            "resp_bytes": masked(size, size > 0),
            "offset_bytes": masked(start, ranged),
            "ttl_ms": masked(np.minimum(ttl_s, 2**43) * 1000, ttl_s > 0),
            "cache_hit": masked(hit == 1, (hit == 0) | (hit == 1)),
        }


def _numbers(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.int64]:
    """A column with -1 where it says nothing, or is not there."""
    if name not in batch.schema.names:
        return np.full(batch.num_rows, -1, dtype=np.int64)
    values: npt.NDArray[np.int64] = batch.column(name).fill_null(-1).to_numpy()
    return values


FORMAT = MetaCdn()
