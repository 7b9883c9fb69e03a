"""Reading one JSON object a line in lots, with errors that name the line. Columns are asked for by name and type; others are left aside."""

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson

from traces.errors import InvalidInput
from traces.formats.bytes_in import line_blocks, one_line

WHAT = "JSON objects"
_BARE_NULL = re.compile(rb"(?:\A|[}\n])[ \t\r]*null")


def json_fields(path: Path) -> list[str]:
    """Names in the first object. Raises InvalidInput."""
    for number, block in line_blocks(path, WHAT):
        for at, line in enumerate(block.split(b"\n")):
            if line.strip():
                return list(_parsed(path, number + at, line))
    return []


def json_batches(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of the first line, the named columns) in lots of a few MiB; a field that a line lacks is null. Empty lines are none.

    Raises InvalidInput that names the line.
    """
    schema = pa.schema(list(types.items()))
    options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for first, block in line_blocks(path, WHAT):
        _refuse_bare_null(path, first, block)
        try:
            read = pajson.ReadOptions(block_size=max(1 << 20, len(block) + 1))
            table = pajson.read_json(io.BytesIO(block), read_options=read, parse_options=options)
            table.validate(full=True)  # the reader takes any bytes for text
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise _bad_line(path, first, block, types, error) from error
        for batch in table.select(list(types)).combine_chunks().to_batches():
            yield first, batch


def _refuse_bare_null(path: Path, first: int, block: bytes) -> None:
    """A null where an object should be takes Arrow's reader, and so this process, down (seen with pyarrow 26)."""
    if b"null" not in block:
        return
    for found in _BARE_NULL.finditer(block):
        at = found.end() - len(b"null")
        begin, end = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at)
        # What only looks like one stands in a text: then its line is one object.
        _parsed(path, first + block.count(b"\n", 0, at), block[begin : end if end >= 0 else len(block)])


def _parsed(path: Path, number: int, line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: line {number}: {one_line(error)}; expected one JSON object a line; correct the line") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: line {number}: {str(value)[:40]!r}; expected a JSON object; correct the line")
    return value


def _bad_line(path: Path, first: int, block: bytes, types: Mapping[str, pa.DataType], error: BaseException) -> InvalidInput:
    """Arrow does not say in which line a lot failed, so this looks for it."""
    for number, line in enumerate(block.split(b"\n"), first):
        if not line.strip():
            continue
        try:
            value = _parsed(path, number, line)
        except InvalidInput as found:
            return found
        for name, kind in types.items():
            try:
                pa.array([value.get(name)], kind)
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                shown = json.dumps(value.get(name))[:60]
                return InvalidInput(f"{path}: line {number}: field {name}: {shown}; expected {_said(kind)}; correct the line")
    return InvalidInput(f"{path}: lines from {first}: {one_line(error)}; expected one JSON object a line; correct the file")


def _said(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"a list of {_said(kind.value_type)}"
    if pa.types.is_integer(kind):
        return "a whole number"
    return "a number" if pa.types.is_floating(kind) else "text" if pa.types.is_string(kind) else str(kind)


def required_field(batch: pa.RecordBatch, name: str, path: Path, first: int) -> pa.Array:
    """A column that no object may lack; `first` is the number of the lot's first line, and the message counts objects from there."""
    column = batch.column(name)
    if column.null_count:
        at = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InvalidInput(
            f"{path}: object {at + 1} from line {first}: field {name} is missing; expected a value in each; correct the file"
        )
    return column
