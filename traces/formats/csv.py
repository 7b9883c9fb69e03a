"""Any csv with a header: columns by canonical names, or by options (see traces.formats.columns)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats import columns
from traces.formats.delimited import csv_batches, csv_header
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace


class Csv:
    name = "csv"
    summary = "any csv with a header: arrival_s, op, key, req_bytes ... or options such as arrival=time:ms, key=id"

    def sniff(self, path: Path, head: bytes) -> int:
        try:
            line = head.split(b"\n", 1)[0].decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            return 0
        names = line.split(",")
        return 2 if any(name == "arrival_ns" or name.startswith("arrival_") for name in names) else int(path.suffix == ".csv")

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "delimiter", "name", *columns.option_names()), self.name)
        delimiter = options.get("delimiter", ",").replace("\\t", "\t")
        if len(delimiter) != 1:
            raise InvalidInput(f"{path}: option delimiter: {delimiter!r}; expected one character, \\t for a tabulator")
        maps = columns.resolve(csv_header(path, delimiter), options, str(path))
        types = {m.column: columns.csv_type(m) for m in maps if m.column}
        shared = [m for m in maps if m.column and types[m.column] != columns.csv_type(m)]
        if shared:
            raise InvalidInput(f"{path}: column {shared[0].column} is asked for in two meanings; expected one for each column")
        kind = next(m.word for m in maps if m.canonical == "kind")

        arrival = next((m for m in maps if m.canonical == "arrival_ns"), None)

        def read() -> Iterator[Chunk]:
            done = 0
            for batch in csv_batches(path, types, delimiter):
                yield columns.chunk_of(batch, maps, str(path), done)
                done += batch.num_rows

        meta = TraceMeta(
            name=options.get("name", ""),
            kinds=(kind,) if kind else (),
            importer=self.name,
            arrival_resolution_ns=_grain_ns(path, arrival, delimiter) if arrival else 1,
        )
        return file_trace(path, meta, read, options)


def _grain_ns(path: Path, arrival: columns.ColumnMap, delimiter: str) -> int:
    """Of the first lot's stamps; one that is no time is left for the reader to report."""
    types = {arrival.column: columns.csv_type(arrival)}
    for batch in csv_batches(path, types, delimiter):
        try:
            stamps = columns.nanoseconds(batch.column(0), arrival.unit)
        except pa.ArrowInvalid:
            return 1  # the reader refuses the same stamp, and knows its row
        return columns.grain_ns(stamps.fill_null(0).to_numpy())
    return 1


FORMAT = Csv()
