"""libCacheSim's csv traces, by its own parameters as options: `time-col`, `obj-id-col`, `obj-size-col` (numbers from 1; time and size may
be left out), `delimiter`, `has-header`. Without them the columns are those of its header `# time, object, size, next_access_vtime`.

Times are seconds, and rows are key-value gets: nothing says what else. https://github.com/1a1a11a/libCacheSim, doc/quickstart_cachesim.md
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of
from traces.formats.columns import key_ids, times_in
from traces.formats.delimited import csv_batches, csv_header
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace

COLUMNS = {"time-col": pa.decimal128(38, 9), "obj-id-col": pa.utf8(), "obj-size-col": pa.int64()}
_OWN_HEADER = re.compile(rb"#\s*time\s*,\s*object\s*,\s*size\b")
_DIGIT = re.compile(r"\s*-?\d")


class LibCacheSimCsv:
    name = "libcachesim_csv"
    summary = "libCacheSim csv by its parameters (time-col, obj-id-col, obj-size-col, delimiter, has-header): gets, times in seconds"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if _OWN_HEADER.match(head) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", *COLUMNS, "delimiter", "has-header"), self.name)
        own = _OWN_HEADER.match(head_of(path, 1 << 12)) is not None
        if "obj-id-col" not in options and not own:
            raise InvalidInput(
                f"{path}: no option obj-id-col; expected the number of the object's column, from 1; give --option obj-id-col=N"
            )
        delimiter = options.get("delimiter", ",").replace("\\t", "\t")
        if len(delimiter) != 1:
            raise InvalidInput(f"{path}: option delimiter: {delimiter!r}; expected one character, \\t for a tabulator")
        first = csv_header(path, delimiter)
        asked = {name: options[name] for name in COLUMNS if name in options} or {name: str(at) for at, name in enumerate(COLUMNS, 1)}
        at = {name: _number(path, name, text, len(first)) for name, text in asked.items()}
        if len(set(at.values())) < len(at):
            raise InvalidInput(f"{path}: options {', '.join(at)} name one column twice; expected one for each")
        header = options.get("has-header", str(own or (not _DIGIT.match(first[at["obj-id-col"] - 1]) and _named(first))).lower())
        if header not in ("true", "false"):
            raise InvalidInput(f"{path}: option has-header: {header!r}; expected true or false")
        meta = TraceMeta(
            kinds=("kv",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            loss_notes="ops are unknown and stand as get",
        )
        names = [str(number) for number in range(1, len(first) + 1)]
        return file_trace(path, meta, lambda: _read(path, at, names, delimiter, int(header == "true")), options)


def _named(first: list[str]) -> bool:
    """A header has no numbers at all; keys that are text stand beside a time."""
    return not any(_DIGIT.match(each) for each in first)


def _number(path: Path, name: str, text: str, columns: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= columns:
        raise InvalidInput(f"{path}: option {name}: {text!r}; expected a column's number from 1 to {columns}")
    return int(text)


def _read(path: Path, at: Mapping[str, int], names: list[str], delimiter: str, skip: int) -> Iterator[Chunk]:
    types = {str(column): COLUMNS[name] for name, column in at.items()}
    done = 0
    for batch in csv_batches(path, types, delimiter, names=names, skip=skip):
        found = {name: batch.column(str(column)) for name, column in at.items()}
        for name in ("time-col", "obj-id-col"):
            if name in found and found[name].null_count:
                row = done + int(np.flatnonzero(found[name].is_null().to_numpy(zero_copy_only=False))[0])
                raise InvalidInput(
                    f"{path}: line {row + skip + 1}: column {at[name]} is empty; expected a value in each row; correct the file"
                )
        chunk: Chunk = {"kind": "kv", "op": "get", "key_id": key_ids(pc.utf8_trim_whitespace(found["obj-id-col"]))}
        if "time-col" in found:
            chunk["arrival_ns"] = times_in(found["time-col"], "s", f"{path}: column {at['time-col']}", done).to_numpy()
        if "obj-size-col" in found:
            chunk["resp_bytes"] = found["obj-size-col"]
        done += batch.num_rows
        yield chunk


FORMAT = LibCacheSimCsv()
