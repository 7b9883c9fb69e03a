"""A trace of one kind as requests of a driver: disk reads as key-value gets, inferences as HTTP posts sized
by tokens.

Identity where the kind fits. Times and order never change. What a projection had to make up stands in the
trace's notes.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.key_paths import key_targets
from traces.quantities import parse_size
from traces.schema import NAME, TraceMeta, ints, masked, present, with_columns
from traces.stream import StreamTrace, Trace

Project = Callable[[pa.RecordBatch, Mapping[str, int]], pa.RecordBatch]
OPTIONS = {"key_bytes": 16, "bytes_per_token": 4, "default_bytes": 64}
"""Options and their defaults: key length and payload where the source says none; bytes of a token."""


DRIVER_KINDS: Mapping[str, str] = {
    "redis": "kv",
    "memcached": "kv",
    "http": "http",
    "http2": "http",
    "grpc": "rpc",
    "openai": "llm",
    "tcp": "flow",
    "udp": "flow",
    "block": "block",
    "null": "",
}
"""What kind of requests each driver of the engine sends; "": any, as they are."""

DRIVER_GROUP = "offspec.drivers"
"""Entry points of drivers in Python; each says by its attribute `kind` what it sends."""


def driver_names() -> list[str]:
    """Every driver that this installation has."""
    return [*DRIVER_KINDS, *sorted(e.name for e in entry_points(group=DRIVER_GROUP))]


def driver_kind(driver: str) -> str:
    """The kind of requests that a driver sends. Raises InvalidInput for an unknown one."""
    if driver in DRIVER_KINDS:
        return DRIVER_KINDS[driver]
    for entry in entry_points(group=DRIVER_GROUP):
        if entry.name == driver:
            return str(getattr(entry.load(), "kind", ""))
    raise InvalidInput(f"driver {driver!r}: expected one of {', '.join(driver_names())}")


def project(trace: Trace, driver: str, **options: object) -> StreamTrace:
    """`trace` as requests of `driver`. Raises InvalidInput where they do not go together."""
    values = _options(options)
    kinds = trace.meta.kinds
    to_kind, note, change = projection_of(trace.meta, driver)
    meta = dataclasses.replace(trace.meta, kinds=(to_kind,) if to_kind else kinds)
    if note and meta.importer != "synthesis":  # a synthesis leaves nothing unsaid
        meta = meta.noting(note.format(**values))

    def make() -> Iterator[pa.RecordBatch]:
        for batch in trace.batches():
            yield change(batch, values)

    return StreamTrace(
        meta,
        make,
        lambda: f"{trace.identity()}|project {driver} {sorted(values.items())}",
        trace.rows_hint,
        trace.bounded,
        trace.rate_hint_per_s,
    )


def projection_of(meta: TraceMeta, driver: str) -> tuple[str, str, Project]:
    """The kind that comes out, a note on what it makes up, and how. Raises InvalidInput where trace and driver do not go together."""
    kind = meta.kinds[0] if len(meta.kinds) == 1 else ""
    sends = driver_kind(driver)
    if sends == "":
        return kind, "", _same
    if "job" in meta.kinds:
        raise InvalidInput(
            f"{meta.name}: jobs say when machines are busy, not what a server is asked: they feed interference, not the request engine; "
            f"expected a trace of requests for {driver}; take another trace"
        )
    found = _PROJECTIONS.get((kind, sends)) or _PROJECTIONS.get(("", sends))
    if found is None:
        fitting = sorted({k for k, d in _PROJECTIONS if d == sends and k})
        raise InvalidInput(
            f"{meta.name}: a trace of kind {', '.join(meta.kinds) or 'unknown'} cannot drive {driver}; "
            f"expected kind {', '.join(fitting)}; take another trace or driver"
        )
    return found


def _options(given: Mapping[str, object]) -> dict[str, int]:
    values = dict(OPTIONS)
    for name, value in given.items():
        if name not in OPTIONS:
            raise InvalidInput(f"projection: option {name!r} is unknown; expected one of {', '.join(OPTIONS)}")
        values[name] = parse_size(str(value), f"projection: {name}")
    if not 1 <= values["key_bytes"] <= 65_535:
        raise InvalidInput(f"projection: key_bytes: {values['key_bytes']}; expected 1 to 65535")
    return values


def _words(batch: pa.RecordBatch, mapping: Mapping[str, str], column: str = "op") -> pa.Array:
    """A dictionary column with its words replaced."""
    values = batch.column(column)
    words = [mapping.get(word, word) for word in values.dictionary.to_pylist()]
    unique = list(dict.fromkeys(words))
    moved = np.array([unique.index(word) for word in words], dtype=np.int8)[values.indices.to_numpy()]
    return pa.DictionaryArray.from_arrays(pa.array(moved), pa.array(unique, pa.utf8())).cast(NAME)


def _is_op(batch: pa.RecordBatch, *words: str) -> npt.NDArray[np.bool_]:
    column = batch.column("op")
    found = np.array([word in words for word in column.dictionary.to_pylist()], dtype=np.bool_)
    result: npt.NDArray[np.bool_] = found[column.indices.to_numpy()]
    return result


def _filled(batch: pa.RecordBatch, name: str, value: int) -> pa.Array:
    column = batch.column(name)
    return column.fill_null(pa.scalar(value, column.type)) if column.null_count else column


_STORES = ("set", "add", "replace", "cas", "append", "prepend")


def _kv(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    """Key lengths and payloads of stores where the source says none."""
    stores = _is_op(batch, *_STORES)
    unknown = stores & ~present(batch, "req_bytes")
    columns: dict[str, pa.Array] = {"key_bytes": _filled(batch, "key_bytes", values["key_bytes"])}
    if unknown.any():
        sized = np.where(unknown, values["default_bytes"], ints(batch, "req_bytes"))
        columns["req_bytes"] = masked(sized, stores | present(batch, "req_bytes"))
    return with_columns(batch, columns)


def _block_as_kv(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    keyed = present(batch, "key_id")
    key = ints(batch, "key_id")
    if not keyed.all():
        key = np.where(keyed, key, ints(batch, "offset_bytes").astype(np.uint64) // np.uint64(512))
    touches = ~_is_op(batch, "flush")  # a flush has no key-value counterpart
    moved = with_columns(
        batch,
        {
            "kind": "kv",
            "op": _words(batch, {"read": "get", "write": "set", "trim": "delete"}),
            "key_id": key,
            "key_bytes": np.full(batch.num_rows, values["key_bytes"], dtype=np.uint32),
            "offset_bytes": None,
            "target": None,
        },
    )
    return _kv(moved if touches.all() else moved.filter(pa.array(touches)), values)


def _llm_as_http(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    columns: dict[str, pa.Array | str] = {"kind": "http", "op": "POST"}
    for tokens, size in (("prompt_tokens", "req_bytes"), ("output_tokens", "resp_bytes")):
        bytes_ = pc.multiply(batch.column(tokens).cast(pa.int64()), values["bytes_per_token"])
        columns[size] = pc.coalesce(batch.column(size), bytes_)
    columns["req_bytes"] = pc.fill_null(columns["req_bytes"], values["default_bytes"])
    return with_columns(batch, columns)


def _llm(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    other = _is_op(batch, "image", "embed")
    if other.any():
        op = batch.column("op")[int(np.flatnonzero(other)[0])].as_py()
        raise InvalidInput(f"a trace of op {op}: expected chat or completion for a driver of language models; replay it over http instead")
    return batch


def _kv_as_http(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    sized = _kv(batch, values)
    ops = {"get": "GET", "gets": "GET", "touch": "HEAD", "delete": "DELETE", "incr": "POST", "decr": "POST"}
    ops |= dict.fromkeys(_STORES, "PUT")
    return with_columns(
        sized,
        {
            "kind": "http",
            "op": _words(sized, ops),
            "target": key_targets(ints(sized, "key_id"), ints(sized, "key_bytes")),
        },
    )


def _sized(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.Array:
    """Bytes of each request, whatever says them."""
    tokens = pc.multiply(batch.column("prompt_tokens").cast(pa.int64()), values["bytes_per_token"])
    return pc.coalesce(
        batch.column("req_bytes"),
        batch.column("resp_bytes"),
        tokens,
        pa.scalar(values["default_bytes"], pa.int64()),
    )


def _as_post(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    # The driver puts a slash before a target that has none, and encodes what a path cannot carry.
    return with_columns(batch, {"kind": "http", "op": "POST", "req_bytes": _sized(batch, values)})


def _as_flow(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    return with_columns(batch, {"kind": "flow", "op": "send", "req_bytes": _sized(batch, values)})


def _as_rpc(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    # Only a path can name a method: /package.Service/Method.
    target = batch.column("target").cast(pa.utf8())
    method = pc.if_else(pc.starts_with(target, "/"), target, None).dictionary_encode()
    return with_columns(batch, {"kind": "rpc", "op": "rpc", "target": method, "req_bytes": _sized(batch, values)})


def _same(batch: pa.RecordBatch, values: Mapping[str, int]) -> pa.RecordBatch:
    return batch


_MADE_UP = "keys of unknown length have {key_bytes} bytes, stores of unknown size {default_bytes}"
_PROJECTIONS: Mapping[tuple[str, str], tuple[str, str, Project]] = {
    ("kv", "kv"): ("kv", _MADE_UP, _kv),
    ("block", "kv"): (
        "kv",
        "reads and writes of sectors stand as gets and sets of {key_bytes}-byte keys",
        _block_as_kv,
    ),
    ("http", "http"): ("http", "", _same),
    ("llm", "http"): ("http", "inferences stand as posts of {bytes_per_token} bytes a token, else {default_bytes} bytes", _llm_as_http),
    ("kv", "http"): ("http", "key-value requests stand as GET and PUT of /<key>; " + _MADE_UP, _kv_as_http),
    ("rpc", "http"): ("http", "calls stand as posts to /<who is called>, of their size, else {default_bytes} bytes", _as_post),
    ("flow", "http"): ("http", "flows stand as posts of their size, else {default_bytes} bytes", _as_post),
    ("llm", "llm"): ("llm", "", _llm),
    ("block", "block"): ("block", "", _same),
    ("rpc", "rpc"): ("rpc", "calls of unknown size have {default_bytes} bytes", _as_rpc),
    ("", "rpc"): ("rpc", "requests stand as unary calls of their size, else {default_bytes} bytes", _as_rpc),
    ("flow", "flow"): ("flow", "", _same),
    ("", "flow"): ("flow", "requests stand as sends of their size, else {default_bytes} bytes", _as_flow),
}
