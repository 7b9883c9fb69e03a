"""The canonical schema of a trace, version 1: one row is one request, null means that the source does not
say.

Also the metadata that travels in a trace file under `offspec.trace.*`. Reads no files and knows no format.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SCHEMA_VERSION = 1
BATCH_ROWS = 65_536
"""Rows of a batch in flight and of a row group at rest."""

NAME = pa.dictionary(pa.int8(), pa.utf8())
LABEL = pa.dictionary(pa.int32(), pa.utf8())

SCHEMA = pa.schema(
    [
        pa.field("arrival_ns", pa.int64(), nullable=False),  # after the window's start, which need not be the first row
        pa.field("seq", pa.uint64(), nullable=False),  # order in the source, breaks ties
        pa.field("kind", NAME, nullable=False),
        pa.field("op", NAME, nullable=False),
        pa.field("tenant", LABEL),
        pa.field("client", LABEL),
        pa.field("target", LABEL),
        pa.field("key_id", pa.uint64()),
        pa.field("key_bytes", pa.uint32()),
        pa.field("req_bytes", pa.int64()),
        pa.field("resp_bytes", pa.int64()),
        pa.field("offset_bytes", pa.int64()),
        pa.field("ttl_ms", pa.int64()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("output_tokens", pa.int32()),
        pa.field("prefix_hashes", pa.list_(pa.field("item", pa.uint64(), nullable=False))),
        pa.field("media_items", pa.int32()),
        pa.field("session_id", pa.uint64()),
        pa.field("turn", pa.int32()),
        pa.field("parent_seq", pa.uint64()),
        pa.field("service_ns", pa.int64()),
        pa.field("observed_ns", pa.int64()),
        pa.field("status", pa.int32()),
        pa.field("cache_hit", pa.bool_()),
        pa.field("cpu_milli", pa.int64()),
        pa.field("mem_bytes", pa.int64()),
        pa.field("gpu_milli", pa.int64()),
        pa.field("instances", pa.int32()),
        pa.field("priority", pa.int32()),
        pa.field("labels", pa.map_(pa.utf8(), pa.utf8())),
    ]
)

KINDS = ("kv", "http", "llm", "faas", "block", "rpc", "job", "flow")
OPS: Mapping[str, tuple[str, ...]] = {
    "kv": (
        "get", "gets", "set", "add", "replace", "cas", "append", "prepend", "delete", "incr", "decr", "touch",
    ),
    "http": ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"),
    "llm": ("completion", "chat", "embed", "image"),
    "faas": ("invoke",),
    "block": ("read", "write", "trim", "flush"),
    "rpc": ("rpc", "mc", "db", "mq", "http"),
    "job": ("submit",),
    "flow": ("send",),
}  # fmt: skip

Column: TypeAlias = pa.Array | npt.NDArray[Any] | str
"""What `batch_of` takes for a column: values, or one text for all rows."""


def constant(text: str, rows: int, kind: pa.DataType = NAME) -> pa.Array:
    """A dictionary column with the same text in every row."""
    if rows <= BATCH_ROWS:
        return _constant(text, kind).slice(0, rows)
    return _constant_of(text, rows, kind)


def nulls(rows: int, kind: pa.DataType) -> pa.Array:
    """An empty column. Batches share their memory: most columns of most traces say nothing."""
    return _nulls(kind, max(BATCH_ROWS, 1 << max(0, rows - 1).bit_length())).slice(0, rows)


@lru_cache(maxsize=64)
def _nulls(kind: pa.DataType, rows: int) -> pa.Array:
    if not pa.types.is_primitive(kind):
        return pa.nulls(rows, kind)
    return pa.Array.from_buffers(kind, rows, [_zeros(rows), _zeros(rows)], null_count=rows)


@lru_cache(maxsize=4)
def _zeros(rows: int) -> pa.Buffer:
    """For as many values of up to 8 bytes, and their validity."""
    return pa.py_buffer(bytes(8 * rows))


@lru_cache(maxsize=64)
def _constant(text: str, kind: pa.DataType) -> pa.Array:
    return _constant_of(text, BATCH_ROWS, kind)


def _constant_of(text: str, rows: int, kind: pa.DataType) -> pa.Array:
    indices = pa.array(np.zeros(rows, dtype=kind.index_type.to_pandas_dtype()))
    return pa.DictionaryArray.from_arrays(indices, pa.array([text], pa.utf8()))


def conform(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """`values` in the canonical type. Raises pyarrow.ArrowInvalid where a value does not fit."""
    if values.type == kind:
        return values
    if not pa.types.is_dictionary(kind):
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        return values.cast(kind)
    if not pa.types.is_dictionary(values.type):
        values = values.cast(pa.utf8()).dictionary_encode()
    return values.cast(kind)


def batch_of(columns: Mapping[str, Column], rows: int) -> pa.RecordBatch:
    """A canonical batch out of some columns; those not given are null."""
    unknown = columns.keys() - set(SCHEMA.names)
    if unknown:
        raise ValueError(f"not in the canonical schema: {', '.join(sorted(unknown))}")
    arrays: list[pa.Array] = []
    for field in SCHEMA:
        given = columns.get(field.name)
        if given is None:
            arrays.append(nulls(rows, field.type))
        elif isinstance(given, str):
            arrays.append(constant(given, rows, field.type))
        else:
            arrays.append(conform(given if isinstance(given, pa.Array) else pa.array(given), field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def with_columns(batch: pa.RecordBatch, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """`batch` with some columns replaced (each a Column); None empties one."""
    arrays = list(batch.columns)
    for name, given in columns.items():
        index = SCHEMA.get_field_index(name)
        if index < 0:
            raise ValueError(f"not in the canonical schema: {name}")
        kind = SCHEMA.field(index).type
        if given is None:
            arrays[index] = nulls(batch.num_rows, kind)
        elif isinstance(given, str):
            arrays[index] = constant(given, batch.num_rows, kind)
        else:
            arrays[index] = conform(given if isinstance(given, pa.Array) else pa.array(given), kind)
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def ints(batch: pa.RecordBatch, name: str, absent: int = 0) -> npt.NDArray[Any]:
    """An integer column as numpy, null as `absent`; a view where nothing is null."""
    column = batch.column(name)
    if column.null_count:
        column = column.fill_null(pa.scalar(absent, column.type))
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def present(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.bool_]:
    """Where a column is not null."""
    column = batch.column(name)
    if not column.null_count:
        return np.ones(batch.num_rows, dtype=np.bool_)
    if column.null_count == batch.num_rows:
        return np.zeros(batch.num_rows, dtype=np.bool_)
    return column.is_valid().to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def masked(values: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> pa.Array:
    """numpy values with null where not `known`."""
    return pa.array(values, mask=~known)


PREFIX = "offspec.trace."


@dataclass(frozen=True)
class TraceMeta:
    """What is known of a trace as a whole. Empty text and None mean unknown."""

    name: str = ""
    kinds: tuple[str, ...] = ()
    source_repo: str = ""
    source_commit: str = ""
    source_path: str = ""  # the file's name, never where it lay on this machine
    source_url: str = ""
    source_sha256: str = ""
    license: str = ""
    shareable: str = ""  # yes | attribution | local-only
    citation: str = ""
    cut: str = ""
    importer: str = ""
    importer_version: str = ""
    import_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rows: int | None = None
    span_ns: int | None = None  # last arrival - first arrival
    source_offset_ns: int = 0  # the source's clock at arrival 0
    t0_unix_ns: int | None = None  # None: shifted or unknown
    arrival_resolution_ns: int = 1
    arrival_model: str = "recorded"  # recorded | expanded | dithered | generated | none
    expand_mode: str = ""
    expand_seed: int | None = None
    sampling_ratio: float = 1.0
    traffic_factor: float = 1.0
    key_space: int | None = None
    llm_block_tokens: int | None = None
    llm_hash_scope: str = ""
    llm_tokenizer: str = ""
    causality: str = "open"  # open | session | tree
    sorted: bool = True
    anonymised: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    loss_notes: str = ""
    transforms: tuple[Mapping[str, Any], ...] = ()  # each {name, value, options, seed, ...}, in order
    content_sha256: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_metadata(self) -> dict[str, str]:
        """As a Parquet file's key-value metadata. Text stays text, the rest is JSON, None is empty."""
        out: dict[str, str] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                out[PREFIX + field.name] = value
            else:
                out[PREFIX + field.name] = "" if value is None else json.dumps(value, sort_keys=True)
        return out

    @classmethod
    def from_metadata(cls, raw: Mapping[bytes, bytes]) -> "TraceMeta":
        """The inverse. Unknown keys are left aside (a later version may add some). Raises ValueError for
        damaged ones.
        """
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = raw.get((PREFIX + field.name).encode())
            if text is None:
                continue
            if field.type in (str, "str"):
                values[field.name] = text.decode()
            elif not text:
                values[field.name] = None
            else:
                value = json.loads(text)
                values[field.name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    def recording(self, **said: Any) -> "TraceMeta":
        """With what a transform has to say of itself; whoever applies it puts that into its record."""
        return dataclasses.replace(self, transforms=(*self.transforms, said))

    def noting(self, note: str) -> "TraceMeta":
        """With one more loss note, once."""
        if note in self.loss_notes:
            return self
        return dataclasses.replace(self, loss_notes=f"{self.loss_notes}; {note}" if self.loss_notes else note)
