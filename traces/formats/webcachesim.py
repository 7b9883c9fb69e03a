"""webcachesim's and LRB's text traces: time, id, size separated by a blank; what follows in a line are features, which are left aside.

The owner leaves the time's unit open: it is a second unless the option `unit` says s, ms, us or ns. Rows are GETs of objects.
https://github.com/dasebe/webcachesim, https://github.com/sunnyszy/lrb
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.columns import key_ids, times_in
from traces.formats.delimited import csv_batches, csv_header
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
TYPES = {"time": pa.int64(), "id": pa.utf8(), "size": pa.int64()}


class WebCacheSim:
    name = "webcachesim"
    summary = "webcachesim / LRB text (time id size, and features): GETs of objects; the option unit is s, ms, us or ns"

    def sniff(self, path: Path, head: bytes) -> int:
        lines = [line.split() for line in head.split(b"\n")[:20]]
        whole = lines[:-1] if len(lines) > 1 else lines
        return 2 if whole and all(len(line) == 3 and all(word.isdigit() for word in line) for line in whole) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "unit"), self.name)
        unit = options.get("unit", "s")
        if unit not in UNITS:
            raise InvalidInput(f"{path}: option unit: {unit!r}; expected one of {', '.join(UNITS)}")
        fields = len(csv_header(path, " "))
        if fields < len(TYPES):
            raise InvalidInput(f"{path}: line 1: {fields} fields; expected time, id, size separated by one blank; name another --format")
        names = [*TYPES, *(f"feature {number}" for number in range(fields - len(TYPES)))]
        meta = TraceMeta(
            kinds=("http",),
            importer=self.name,
            arrival_resolution_ns=UNITS[unit],
            loss_notes="" if "unit" in options else "times are taken as seconds",
        )
        return file_trace(path, meta, lambda: _read(path, names, unit), options)


def _read(path: Path, names: list[str], unit: str) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, TYPES, " ", names=names):
        for name in TYPES:
            if (column := batch.column(name)).null_count:
                row = done + column.is_null().to_pylist().index(True)
                raise InvalidInput(f"{path}: line {row + 1}: {name} is empty; expected time, id, size separated by one blank; correct it")
        keys = key_ids(batch.column("id"))
        stamps = times_in(batch.column("time"), unit, f"{path}: time", done)
        done += batch.num_rows
        yield {
            "arrival_ns": stamps.to_numpy(),
            "kind": "http",
            "op": "GET",
            "key_id": keys,
            "target": pa.array([f"/{key:x}" for key in keys.to_pylist()]),
            "resp_bytes": batch.column("size"),
        }


FORMAT = WebCacheSim()
