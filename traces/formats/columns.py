"""Which source column becomes which canonical one, in which unit: for formats whose columns have no fixed
meaning.

An option `<canonical>=<column>[:unit]` names a column; columns with canonical names need none, and
`arrival_s`, `arrival_ms` and the like are known too. `kind` and `op` may also be one word that holds for all
rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.draws import key_of
from traces.errors import InvalidInput
from traces.formats.reading import Chunk
from traces.schema import KINDS, OPS, SCHEMA

Role = Literal["time", "bytes", "ttl", "key", "text", "number"]
_TIME_DIGITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""Decimal digits from a unit down to nanoseconds."""
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "KiB": 2**10, "MiB": 2**20, "MB": 10**6, "sectors": 512}
_TTL_MS = {"ms": 1, "s": 1000}
_UNITS: Mapping[str, tuple[str, ...]] = {
    "time": (*_TIME_DIGITS, "iso"),
    "bytes": tuple(_BYTES),
    "ttl": tuple(_TTL_MS),
    "key": (),
    "text": (),
    "number": (),
}
_TIMES = {"arrival": "arrival_ns", "service": "service_ns", "observed": "observed_ns"}
UNTIMED = "none"
"""As the option `arrival`: the rows are in order, and no column says when they arrive."""
_WHOLE_KEY_DIGITS = 19
_NOT_MAPPED = ("seq", "prefix_hashes", "labels")
_SPECIAL: Mapping[str, Role] = {
    **dict.fromkeys(_TIMES.values(), "time"),
    "key_bytes": "number",  # a length, but never given in KiB
    "key_id": "key",
    "ttl_ms": "ttl",
}


def _role(name: str, kind: pa.DataType) -> Role:
    if name in _SPECIAL:
        return _SPECIAL[name]
    if pa.types.is_dictionary(kind):
        return "text"
    return "bytes" if name.endswith("_bytes") else "number"


ROLES: Mapping[str, Role] = {f.name: _role(f.name, f.type) for f in SCHEMA if f.name not in _NOT_MAPPED}


@dataclass(frozen=True)
class ColumnMap:
    """One canonical column out of one source column, or of one word for all rows."""

    canonical: str
    column: str
    unit: str = ""
    word: str = ""

    @property
    def role(self) -> Role:
        return ROLES[self.canonical]


def option_names() -> tuple[str, ...]:
    return (*_TIMES, "key", "ttl", *ROLES)


def resolve(header: Sequence[str], options: Mapping[str, str], where: str) -> list[ColumnMap]:
    """The map that header and options give. Raises InvalidInput for a column that is not there and for
    unknown units.
    """
    maps: dict[str, ColumnMap] = {}
    for name in header:
        found = _by_name(name)
        if found is not None:
            maps.setdefault(found.canonical, found)
    for option, value in options.items():
        canonical = {**_TIMES, "key": "key_id", "ttl": "ttl_ms"}.get(option, option)
        if canonical not in ROLES:
            continue
        if canonical == "arrival_ns" and value == UNTIMED and value not in header:
            maps.pop(canonical, None)
            continue
        role = ROLES[canonical]
        column, colon, unit = value.rpartition(":")
        if not colon or value in header:
            column, unit = value, {"time": "ns", "bytes": "B", "ttl": "ms"}.get(role, "")
            if role == "time" and value not in header:
                unit = "ns"
        if canonical in ("kind", "op") and value not in header:
            maps[canonical] = ColumnMap(canonical, "", word=value)
            continue
        if column not in header:
            raise InvalidInput(f"{where}: option {option}: no column {column!r}; expected one of {', '.join(header)}")
        if unit and unit not in _UNITS[role]:
            raise InvalidInput(
                f"{where}: option {option}: unit {unit!r}; expected one of {', '.join(_UNITS[role]) or 'none'} after the colon"
            )
        maps[canonical] = ColumnMap(canonical, column, unit)
    if "arrival_ns" not in maps and UNTIMED not in (options.get("arrival"), options.get("arrival_ns")):
        raise InvalidInput(
            f"{where}: no column says when requests arrive; expected arrival_ns or arrival_s among "
            f"{', '.join(header)}; name one with the option arrival=COLUMN:UNIT (s, ms, us, ns or iso), or "
            "arrival=none for an order without times"
        )
    kind = maps.get("kind") or ColumnMap("kind", "", word=_guess_kind(maps))
    if kind.word and kind.word not in KINDS:
        raise InvalidInput(f"{where}: option kind: {kind.word!r} is no column and no kind; expected one of {', '.join(KINDS)}")
    if "op" not in maps and not kind.word:
        raise InvalidInput(f"{where}: rows of several kinds but no column says the op; name one with the option op=COLUMN")
    op = maps.get("op") or ColumnMap("op", "", word=OPS[kind.word][0])
    return [*(m for name, m in maps.items() if name not in ("kind", "op")), kind, op]


def _by_name(name: str) -> ColumnMap | None:
    if name in ROLES:
        return ColumnMap(name, name, {"time": "ns", "bytes": "B", "ttl": "ms"}.get(ROLES[name], ""))
    base, _, unit = name.rpartition("_")
    if base in _TIMES and unit in _TIME_DIGITS:
        return ColumnMap(_TIMES[base], name, unit)
    if name == "ttl_s":
        return ColumnMap("ttl_ms", name, "s")
    return ColumnMap("key_id", name) if name == "key" else None


def _guess_kind(maps: Mapping[str, ColumnMap]) -> str:
    for column, kind in (
        ("prompt_tokens", "llm"),
        ("offset_bytes", "block"),
        ("key_id", "kv"),
        ("target", "http"),
    ):
        if column in maps:
            return kind
    return "flow"


def grain_ns(stamps: npt.NDArray[np.int64]) -> int:
    """The largest of 1 s, 1 ms, 1 us, 100 ns, 1 ns that divides all stamps (needs ten, or it would be
    chance).
    """
    if len(stamps) < 10:
        return 1
    return next(grain for grain in (10**9, 10**6, 10**3, 100, 1) if not (stamps % grain).any())


def csv_type(column: ColumnMap) -> pa.DataType:
    """As what a csv column is read. Times are exact decimals: a double would lose the nanoseconds of a
    date.
    """
    if column.role == "time":
        return pa.timestamp("ns") if column.unit == "iso" else pa.decimal128(38, 18)
    if column.role in ("bytes", "ttl"):
        return pa.int64()
    if column.role in ("key", "text"):
        return pa.utf8()
    kind: pa.DataType = SCHEMA.field(column.canonical).type
    return kind


def chunk_of(batch: pa.RecordBatch, maps: Sequence[ColumnMap], path: str, done: int) -> Chunk:
    """Canonical columns of some rows; `done` rows came before, for messages."""
    chunk: Chunk = {}
    for column in maps:
        if column.word:
            chunk[column.canonical] = column.word
            continue
        values = batch.column(column.column)
        try:
            converted = _convert(values, column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"{path}: rows {done} to {done + batch.num_rows - 1} (from 0): column {column.column}: "
                f"{' '.join(str(error).split())}; expected {column.canonical} in "
                f"{column.unit or 'canonical form'}; name its unit"
            ) from error
        if column.canonical in ("arrival_ns", "kind", "op"):
            if converted.null_count:
                row = done + int(np.flatnonzero(converted.is_null().to_numpy(zero_copy_only=False))[0])
                raise InvalidInput(
                    f"{path}: row {row} (from 0): column {column.column} is empty; expected a value in each row; correct the file"
                )
            chunk[column.canonical] = converted.to_numpy() if column.canonical == "arrival_ns" else converted
        else:
            chunk[column.canonical] = converted
    _check_words(chunk, path, done, batch.num_rows)
    return chunk


def _check_words(chunk: Chunk, path: str, done: int, rows: int) -> None:
    kinds, ops = _words(chunk["kind"]), _words(chunk["op"])
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInput(f"{path}: rows {done} to {done + rows - 1}: kind {kind!r}; expected one of {', '.join(KINDS)}")
    allowed = {op for kind in kinds for op in OPS[kind]}
    for op in ops:
        if op not in allowed:
            raise InvalidInput(f"{path}: rows {done} to {done + rows - 1}: op {op!r}; expected one of {', '.join(sorted(allowed))}")


def _words(column: Any) -> list[str]:
    if isinstance(column, str):
        return [column]
    words: list[str] = pc.unique(pa.array(column) if not isinstance(column, pa.Array) else column).to_pylist()
    return words


def _convert(values: pa.Array, column: ColumnMap) -> pa.Array:
    if column.role == "time":
        return nanoseconds(values, column.unit)
    if column.role == "bytes":
        return pc.multiply_checked(values.cast(pa.int64()), _BYTES[column.unit])
    if column.role == "ttl":
        return pc.multiply_checked(values.cast(pa.int64()), _TTL_MS[column.unit])
    if column.role == "key":
        return key_ids(values)
    return values


def nanoseconds(values: pa.Array, unit: str) -> pa.Array:
    """Times of any Arrow type as int64 nanoseconds; digits below one are cut off. Raises
    pyarrow.ArrowInvalid.
    """
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_date(kind):
        values = values.cast(pa.timestamp("ns"))
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("ns", tz=values.type.tz)).cast(pa.int64())
    if unit == "iso":
        raise pa.ArrowInvalid(f"{kind} is no date")
    digits = _TIME_DIGITS[unit]
    if pa.types.is_integer(kind):
        return pc.multiply_checked(values.cast(pa.int64()), 10**digits)
    if pa.types.is_decimal(kind):
        return _unscaled(values.cast(pa.decimal128(38, digits), safe=False))
    scaled = pc.round(pc.multiply(values.cast(pa.float64()), float(10**digits)))
    return scaled.cast(pa.int64())


def times_in(values: pa.Array, unit: str, where: str, done: int) -> pa.Array:
    """`nanoseconds` for a column whose meaning is fixed. `where`: file and column, for the message; `done`: rows that came before. Raises
    InvalidInput that names the row.
    """
    try:
        return nanoseconds(values, unit)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        for row in range(len(values)):
            try:
                nanoseconds(values.slice(row, 1), unit)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InvalidInput(
                    f"{where}: {str(values[row].as_py())[:60]} in row {done + row} (from 0); expected {unit} within 292 years; "
                    "correct the file"
                ) from error
        raise


def _unscaled(values: pa.Array) -> pa.Array:
    """The whole number inside decimals: the low word of its 128 bits, if the high one only carries the
    sign.
    """
    words: npt.NDArray[np.int64] = np.frombuffer(values.buffers()[1], dtype=np.int64)
    words = words[2 * values.offset : 2 * (values.offset + len(values))]
    low, high = words[0::2], words[1::2]
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    if (high != (low >> 63))[valid].any():
        raise pa.ArrowInvalid("a time is beyond 292 years")
    return pa.array(low.copy(), mask=~valid)


def key_ids(values: pa.Array) -> pa.Array:
    """Key identities: whole numbers below 2^64 stay, any other text becomes its blake2b-64."""
    if pa.types.is_integer(values.type):
        return values.cast(pa.uint64())
    text = values.cast(pa.utf8())
    if (whole := _whole_keys(text)) is not None:
        return whole
    encoded = text.dictionary_encode()
    ids = pa.array([_key_id(text) for text in encoded.dictionary.to_pylist()], pa.uint64())
    return ids.take(encoded.indices)


def _whole_keys(text: pa.Array) -> pa.Array | None:
    """Where every key is a canonical whole number below 10^19 they are read at once; else None."""
    if text.null_count == len(text):
        return text.cast(pa.uint64())
    _, ends, letters = text.buffers()
    bounds = np.frombuffer(ends, dtype=np.int32)[text.offset : text.offset + len(text) + 1]
    begins, lengths = bounds[:-1], np.diff(bounds)
    if text.null_count:
        valid = text.is_valid().to_numpy(zero_copy_only=False)
        begins, lengths = begins[valid], lengths[valid]
    if lengths.min() < 1 or lengths.max() > _WHOLE_KEY_DIGITS:
        return None
    digits = np.frombuffer(letters, dtype=np.uint8)
    if ((digits[bounds[0] : bounds[-1]] - ord("0")) > 9).any():  # what comes before "0" wraps round to above 9
        return None
    if ((digits[begins] == ord("0")) & (lengths > 1)).any():
        return None
    return text.cast(pa.uint64())


def _key_id(text: str) -> int:
    # Only the canonical spelling of a number is that number: "007" and "7" are different keys.
    if text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") and int(text) < 2**64:
        return int(text)
    return key_of(text)
