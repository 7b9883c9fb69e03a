"""Access logs as JSON objects, one a line: NGINX's `log_format ... escape=json` with its variables' own names as fields
(https://nginx.org/en/docs/http/ngx_http_log_module.html, .../ngx_http_core_module.html#variables).

NGINX writes all values as text, unless who made the log format left the quotes away; both are read. "" and "-" are unknown.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.access_fields import Fields, Reading
from traces.formats.access_stamps import clf_nanoseconds
from traces.formats.columns import nanoseconds
from traces.formats.json_lines import json_batches
from traces.formats.json_shape import Shape
from traces.formats.left_out import LINES, Tally
from traces.formats.reading import Chunk

TIMES = ("msec", "time_iso8601", "time_local")
"""Fields of the time, the finest first."""
_NUMBERS = ("status", "body_bytes_sent", "content_length", "msec", "request_time")
_TENANTS = ("host", "http_host", "server_name")
_FIELDS = (*TIMES, *_NUMBERS, "request", "request_method", "request_uri", "uri", "remote_addr", *_TENANTS)
_NUMBER = pa.decimal128(38, 18)


def looks_like_access_objects(names: Mapping[str, object]) -> bool:
    return any(name in names for name in TIMES) and "status" in names and ("request" in names or "request_method" in names)


def time_field(shape: Mapping[str, Shape], path: Path) -> str:
    """Raises InvalidInput for objects that are no requests."""
    found = next((name for name in TIMES if name in shape), None)
    if found is None or not ("request" in shape or ("request_method" in shape and ("request_uri" in shape or "uri" in shape))):
        raise InvalidInput(
            f"{path}: fields {', '.join(list(shape)[:20])}; expected NGINX's names: {', '.join(TIMES)} for the time, and request, or "
            "request_method and request_uri; name --format jsonl and give its fields as options"
        )
    return found


def read_objects(reading: Reading, shape: Mapping[str, Shape], tally: Tally) -> Iterator[Chunk]:
    types = {name: _type(name, shape[name]) for name in dict.fromkeys(_FIELDS) if name in shape}
    stamp = time_field(shape, reading.path)
    done = 0
    for first, batch in json_batches(reading.path, types):
        tally[LINES] += batch.num_rows
        try:
            fields = _fields(batch, stamp, f"request {{}} from line {first} on")
        except pa.ArrowInvalid as error:
            said = " ".join(str(error).split())
            raise InvalidInput(
                f"{reading.path}: requests {done} to {done + batch.num_rows - 1} (from 0): {said}; expected what NGINX writes"
            ) from error
        yield reading.chunk(fields, tally)
        done += batch.num_rows


def _type(name: str, shape: Shape) -> pa.DataType:
    return _NUMBER if name in _NUMBERS and shape in ("whole", "number") else pa.utf8()


def _fields(batch: pa.RecordBatch, stamp: str, where: str) -> Fields:
    names = batch.schema.names

    def column(*wanted: str) -> pa.Array:
        found = next((name for name in wanted if name in names), None)
        if found is None:
            return pa.nulls(batch.num_rows, pa.utf8())
        values = batch.column(found)
        if values.type != pa.utf8():
            return values
        return pc.if_else(pc.is_in(values, pa.array(["", "-"])), pa.scalar(None, pa.utf8()), values)

    def number(name: str) -> pa.Array:
        try:
            return column(name).cast(_NUMBER)
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(f"field {name}: {error}") from error

    request = column("request")
    if "request" not in names:
        request = pc.binary_join_element_wise(column("request_method"), column("request_uri", "uri"), " ")
    return Fields(
        stamp_ns=nanoseconds(number(stamp), "s") if stamp == "msec" else _stamps(column(stamp), stamp),
        request=request,
        client=column("remote_addr"),
        tenant=column(*_TENANTS),
        status=number("status").cast(pa.int32()),
        resp_bytes=number("body_bytes_sent").cast(pa.int64()),
        observed_ns=nanoseconds(number("request_time"), "s") if "request_time" in names else None,
        req_bytes=number("content_length").cast(pa.int64()) if "content_length" in names else None,
        line=lambda row: where.format(row),
    )


def _stamps(values: pa.Array, name: str) -> pa.Array:
    if name == "time_local":
        return clf_nanoseconds(values)
    try:
        return values.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(f"field {name}: {error}") from error
