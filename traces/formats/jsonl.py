"""Any file of one JSON object a line: fields by canonical names, or by options (see traces.formats.columns).

A field is read as what it holds in the first lines: a key may be text or a number, a time a number or an ISO date. Only fields at the top
of an object are columns; those that are objects or lists themselves are left aside.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats import columns
from traces.formats.json_lines import json_batches
from traces.formats.json_shape import Shape, first_object, json_shape
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace


class Jsonl:
    name = "jsonl"
    summary = "any JSON objects, one a line: fields arrival_s, op, key, req_bytes ... or options such as arrival=time:ms, key=id"

    def sniff(self, path: Path, head: bytes) -> int:
        first = first_object(head)
        if first is None:  # a first line that is longer than what was read of it
            return int(b"\n" not in head and head.startswith(b'{"') and path.suffix in (".jsonl", ".ndjson"))
        return 2 if any(name == "arrival_ns" or name.startswith("arrival_") for name in first) else 1

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "name", *columns.option_names()), self.name)
        shape = json_shape(path)
        if not shape:
            next(json_batches(path, {}), None)  # says in which line there is no object
            raise InvalidInput(f"{path}: no object with fields; expected one request a line; name another --format")
        maps = columns.resolve(list(shape), options, str(path))
        types: dict[str, pa.DataType] = {}
        for column in maps:
            if not column.column:
                continue
            kind = _type(column, shape[column.column], path)
            if types.setdefault(column.column, kind) != kind:
                raise InvalidInput(f"{path}: field {column.column} is asked for in two meanings; expected one for each field")
        kind = next(m.word for m in maps if m.canonical == "kind")
        arrival = next((m for m in maps if m.canonical == "arrival_ns"), None)

        narrow = dict(types)
        if arrival and shape[arrival.column] == "whole":
            narrow[arrival.column] = pa.int64()

        def read() -> Iterator[Chunk]:
            done = 0
            for batch in _batches(path, narrow, types):
                yield columns.chunk_of(batch, maps, str(path), done)
                done += batch.num_rows

        meta = TraceMeta(
            name=options.get("name", ""),
            kinds=(kind,) if kind else (),
            importer=self.name,
            arrival_resolution_ns=_grain_ns(path, arrival, types[arrival.column]) if arrival else 1,
        )
        return file_trace(path, meta, read, options)


def _batches(path: Path, narrow: Mapping[str, pa.DataType], wide: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Whole stamps are read faster than decimals; from a lot on that is not, all is read as decimals."""
    known = 0
    if narrow != wide:
        try:
            for _, batch in json_batches(path, narrow):
                yield batch
                known += batch.num_rows
            return
        except InvalidInput:
            skip = known  # read again as what may be fractions: what is wrong even so is said by that
    else:
        skip = 0
    for _, batch in json_batches(path, wide):
        if batch.num_rows > skip:
            yield batch.slice(skip)
        skip = max(0, skip - batch.num_rows)


def _type(column: columns.ColumnMap, shape: Shape, path: Path) -> pa.DataType:
    """As what a field is read."""
    if shape == "other":
        raise InvalidInput(f"{path}: field {column.column}: neither text nor a number; expected {column.canonical}; name another field")
    if column.role in ("key", "text") and shape in ("whole", "number"):
        return pa.uint64() if column.role == "key" else pa.int64() if shape == "whole" else pa.float64()
    return columns.csv_type(column)


def _grain_ns(path: Path, arrival: columns.ColumnMap, kind: pa.DataType) -> int:
    """Of the first lot's stamps; one that is no time is left for the reader to report."""
    for _, batch in json_batches(path, {arrival.column: kind}):
        try:
            stamps = columns.nanoseconds(batch.column(0), arrival.unit)
        except pa.ArrowInvalid:
            return 1
        return columns.grain_ns(stamps.fill_null(0).to_numpy())
    return 1


FORMAT = Jsonl()
