"""Reading comma separated text in lots, with errors that name the line."""

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of, line_lots, one_line, opened

MOST_HEADER_BYTES = 1 << 20


def csv_header(path: Path, delimiter: str = ",") -> list[str]:
    first = head_of(path, MOST_HEADER_BYTES).split(b"\n", 1)[0]
    if len(first) == MOST_HEADER_BYTES:
        raise InvalidInput(f"{path}: line 1: over {MOST_HEADER_BYTES >> 10} KiB; expected a header; name another --format")
    try:
        line = first.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: line 1: {one_line(error)}; expected comma separated text in UTF-8; convert the file") from error
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise InvalidInput(f"{path}: line 1: {one_line(error)}; expected {delimiter!r} separated names; correct the header") from error


def header_with(path: Path, needed: Collection[str]) -> list[str]:
    """The names of a header that has all of `needed`. Raises InvalidInput that names what is missing."""
    header = csv_header(path)
    if missing := set(needed) - set(header):
        raise InvalidInput(
            f"{path}: line 1: column {', '.join(sorted(missing))} is missing; expected {', '.join(needed)}; name another --format"
        )
    return header


def csv_batches(
    path: Path,
    types: Mapping[str, pa.DataType],
    delimiter: str = ",",
    *,
    names: Sequence[str] | None = None,
    quotes: bool = True,
    skip: int = 0,
) -> Iterator[pa.RecordBatch]:
    """The named columns in lots of about a megabyte. `names`: the columns of a file without a header, or those to give it in place of the
    first `skip` lines. Raises InvalidInput that names the row.
    """
    try:
        with (
            opened(path) as stream,
            pacsv.open_csv(
                stream,
                read_options=pacsv.ReadOptions(use_threads=False, column_names=list(names) if names is not None else None, skip_rows=skip),
                parse_options=pacsv.ParseOptions(delimiter=delimiter, quote_char='"' if quotes else False),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict(types),
                    include_columns=list(types),
                    null_values=["", "null", "NULL", "NaN", "nan"],
                    strings_can_be_null=True,
                ),
            ) as reader,
        ):
            yield from reader
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise _bad_row(path, types, delimiter, error, names, skip) from error


def _bad_row(
    path: Path, types: Mapping[str, pa.DataType], delimiter: str, error: BaseException, names: Sequence[str] | None, skip: int
) -> InvalidInput:
    """Arrow does not say in which row a lot failed, so this looks for it, row by row."""
    read = _TextLines(path)
    rows = csv.reader(read, delimiter=delimiter)
    try:
        for _ in range(skip):
            next(rows, [])
        header = list(names) if names is not None else next(rows, [])
        for row in rows:
            found = _wrong(row, header, types) if row else None
            if found is not None:
                return InvalidInput(f"{path}: line {read.number}: {found}")
    except csv.Error as wrong:
        return InvalidInput(f"{path}: line {read.number}: {one_line(wrong)}; expected {delimiter!r} separated fields; correct the line")
    except InvalidInput as wrong:
        return wrong
    return InvalidInput(f"{path}: {one_line(error)}; expected comma separated rows; name another --format")


class _TextLines:
    """Lines with their ends, none over the bound; bytes that are not UTF-8 come as surrogates."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.number = 0
        """Of the line that was read last, from 1."""

    def __iter__(self) -> Iterator[str]:
        for lot in line_lots(self._path, "comma separated rows"):
            for self.number, line in enumerate(lot.lines, lot.first):
                yield line.decode("utf-8-sig" if self.number == 1 else "utf-8", "surrogateescape") + "\n"


def _wrong(row: Sequence[str], header: Sequence[str], types: Mapping[str, pa.DataType]) -> str | None:
    """What is wrong with a row, if anything is."""
    if len(row) != len(header):
        return f"{len(row)} fields; expected {len(header)} as in the header; the file may be cut short: fetch it again"
    for name, value in zip(header, row, strict=True):
        kind = types.get(name)
        if kind is None or value == "":
            continue
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"column {name} is not UTF-8; expected text in UTF-8; convert the file"
        try:
            pa.array([value]).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return f"column {name}: {value[:60]!r}; expected {_said(kind)}; correct it or name another column or --format"
    return None


def _said(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "a whole number"
    if pa.types.is_timestamp(kind):
        return "a date and time (2023-11-16 18:17:03.97996)"
    return "a number" if pa.types.is_decimal(kind) else f"of type {kind}"


def required(batch: pa.RecordBatch, name: str, path: Path, done: int) -> pa.Array:
    """A column that may not have empty fields."""
    column = batch.column(name)
    if column.null_count:
        row = done + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InvalidInput(f"{path}: line {row + 2}: column {name} is empty; expected a value in each row; correct the file")
    return column
