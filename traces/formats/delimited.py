"""Reading comma separated text in lots, with errors that name the line."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from traces.errors import InvalidInput
from traces.formats.reading import one_line


def csv_header(path: Path, delimiter: str = ",") -> list[str]:
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            line = io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None).readline()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {one_line(error)}; expected comma separated text in UTF-8; name another --format") from error
    return next(csv.reader([line], delimiter=delimiter), [])


def csv_batches(path: Path, types: Mapping[str, pa.DataType], delimiter: str = ",") -> Iterator[pa.RecordBatch]:
    """The named columns in lots of about a megabyte. Raises InvalidInput that names the row."""
    try:
        with (
            pa.input_stream(str(path), compression="detect") as stream,
            pacsv.open_csv(
                stream,
                parse_options=pacsv.ParseOptions(delimiter=delimiter),
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
        raise _bad_row(path, types, delimiter, error) from error
    except OSError as error:
        raise InvalidInput(f"{path}: {one_line(error)}; expected readable comma separated text; fetch the file again") from error


def _bad_row(path: Path, types: Mapping[str, pa.DataType], delimiter: str, error: BaseException) -> InvalidInput:
    """Arrow does not say in which row a lot failed, so this looks for it, row by row."""
    with pa.input_stream(str(path), compression="detect") as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        rows = csv.reader(text, delimiter=delimiter)
        header = next(rows, [])
        for number, row in enumerate(rows, start=2):
            if not row:
                continue
            if len(row) != len(header):
                return InvalidInput(
                    f"{path}: line {number}: {len(row)} fields; expected {len(header)} as in the header; "
                    "the file may be cut short: fetch it again"
                )
            for name, value in zip(header, row, strict=True):
                kind = types.get(name)
                if kind is None or value == "":
                    continue
                try:
                    pa.array([value]).cast(kind)
                except pa.ArrowInvalid:
                    return InvalidInput(
                        f"{path}: line {number}: column {name}: {value!r}; expected {_said(kind)}; correct "
                        "it or name another column or --format"
                    )
    return InvalidInput(f"{path}: {one_line(error)}; expected comma separated rows; name another --format")


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
