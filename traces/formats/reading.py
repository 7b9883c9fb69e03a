"""A trace out of chunks: what a reader yields on its source's own clock becomes a canonical, checked stream in constant memory.

Rows must come sorted by time. The option `sort` says what happens otherwise: `false` refuses with the row's number, a duration such as
`10s` puts in order what is late by no more than that and refuses the rest, `true` sorts the whole in memory.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.bytes_in import one_line, stem
from traces.quantities import parse_duration
from traces.schema import BATCH_ROWS, SCHEMA, Column, TraceMeta, batch_of, ints, present
from traces.stream import StreamTrace, file_identity, joined, rebatched

READER_VERSION = "1"
Chunk = dict[str, Column]
"""Columns of some rows. `arrival_ns` (int64, the source's clock) may only be left out where the source has no times."""
Read = Callable[[], Iterator[Chunk]]
T = TypeVar("T")
Clock = Literal["source", "unix"]

_COUNTS = (
    "req_bytes",
    "resp_bytes",
    "offset_bytes",
    "ttl_ms",
    "prompt_tokens",
    "output_tokens",
    "media_items",
    "service_ns",
    "cpu_milli",
    "mem_bytes",
    "gpu_milli",
    "instances",
)
_WHOLE = -1
"""The window of `sort=true`."""


def file_sha256(path: Path) -> str:
    """Hashed once for each state that the file is seen in."""
    seen = path.stat()
    return _sha256(str(path.absolute()), seen.st_size, seen.st_mtime_ns, seen.st_ino)


@lru_cache(maxsize=256)
def _sha256(path: str, _size: int, _mtime_ns: int, _inode: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_options(options: Mapping[str, str], known: tuple[str, ...], where: str) -> None:
    for name in options:
        if name not in known:
            raise InvalidInput(f"{where}: option {name!r} is unknown; expected one of {', '.join(known) or 'none'}")


def file_trace(
    path: Path,
    meta: TraceMeta,
    read: Read,
    options: Mapping[str, str],
    rows_hint: int | None = None,
    *,
    clock: Clock = "source",
    sort: str = "false",
    origin_ns: int | None = None,
    beside: tuple[Path, ...] = (),
) -> StreamTrace:
    """A Trace over `read`. Reads the first chunk now: it gives the source's clock at arrival 0, and early errors.

    `clock`: unix where stamps count from 1970 UTC, so that the trace's start has a date. `sort`: the format's default for the option of
    that name. `origin_ns`: the source's clock at arrival 0 where the format defines it, such as the start of a first minute; else it is the
    first stamp. `beside`: other files of which the rows are made.
    """
    window = _window(path, options.get("sort", sort))
    read = guarded(path, read, chunk_rows, "request")
    first = next((chunk for chunk in read() if chunk_rows(chunk)), None)
    if first is None:
        raise InvalidInput(f"{path}: no rows; expected at least one request; fetch the file again")
    if not meta.kinds:
        meta = dataclasses.replace(meta, kinds=_kinds(read))
    timed = "arrival_ns" in first
    if not timed:
        meta = dataclasses.replace(meta, arrival_model="none")
    offset = origin_ns if origin_ns is not None else _earliest(read, first, window) if timed else 0
    meta = dataclasses.replace(
        meta,
        source_path=path.name,
        source_offset_ns=offset,
        t0_unix_ns=offset if clock == "unix" and timed else meta.t0_unix_ns,
        cut=meta.cut or "whole file, from its first row",
        importer_version=READER_VERSION,
        import_args=dict(options),
        name=meta.name or stem(path),
    )
    name, used = meta.name, sorted(options.items())

    def make() -> Iterator[pa.RecordBatch]:
        batches = _canonical(path, read, offset, in_order=window == 0)
        if window == _WHOLE:
            batches = _sorted(batches)
        elif window:
            batches = _within(path, batches, window)
        return rebatched(batches, BATCH_ROWS)

    def origin() -> str:
        more = "".join(f" {file_sha256(other)}" for other in beside)
        return file_identity(file_sha256(path), f"{more}as {meta.importer} {READER_VERSION} {used} named {name}")

    return StreamTrace(meta=meta, make=make, origin=origin, rows_hint=rows_hint)


def guarded(path: Path, read: Callable[[], Iterator[T]], rows_of: Callable[[T], int], what: str) -> Callable[[], Iterator[T]]:
    """Whatever a reader computes from a file's numbers may be beyond its type: that is the file's fault, and never a traceback."""

    def read_on() -> Iterator[T]:
        done = 0
        try:
            for each in read():
                yield each
                done += rows_of(each)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
            raise InvalidInput(
                f"{path}: after {what} {done}: {one_line(error)}; expected values that fit the canonical types; check the columns' units"
            ) from error

    return read_on


def _window(path: Path, text: str) -> int:
    if text in ("true", "false"):
        return _WHOLE if text == "true" else 0
    try:
        return parse_duration(text)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: option sort: {text!r}; expected true, false or the most that a row is late, such as 10s") from error


def chunk_rows(chunk: Chunk) -> int:
    return max((len(column) for column in chunk.values() if not isinstance(column, str)), default=0)


def _arrivals(chunk: Chunk) -> npt.NDArray[np.int64]:
    column = chunk["arrival_ns"]
    if isinstance(column, pa.Array):
        return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    assert isinstance(column, np.ndarray)
    return column


def _earliest(read: Read, first: Chunk, window: int) -> int:
    """The least stamp: of the first row, of the first chunks within the window, or of all."""
    if window == 0:
        return int(_arrivals(first)[0])
    least, start = int(_arrivals(first).min()), int(_arrivals(first)[0])
    for chunk in read():
        if not chunk_rows(chunk):
            continue
        arrival = _arrivals(chunk)
        least = min(least, int(arrival.min()))
        if window != _WHOLE and int(arrival.max()) - start > window:
            break
    return least


def _kinds(read: Read) -> tuple[str, ...]:
    """Of a source that names the kind in each row."""
    found: set[str] = set()
    for chunk in read():
        column = chunk["kind"]
        found.update([column] if isinstance(column, str) else pc.unique(pa.array(column)).to_pylist())
    return tuple(sorted(found))


def _canonical(path: Path, read: Read, offset: int, *, in_order: bool) -> Iterator[pa.RecordBatch]:
    done, last = 0, -(2**63)
    for chunk in read():
        rows = chunk_rows(chunk)
        if not rows:
            continue
        arrival = _arrivals(chunk) - offset if "arrival_ns" in chunk else np.zeros(rows, dtype=np.int64)
        if in_order:
            back = np.flatnonzero(arrival[1:] < arrival[:-1]) + 1
            if arrival[0] < last or len(back):
                row = 0 if arrival[0] < last else int(back[0])
                raise InvalidInput(
                    f"{path}: request {done + row} (from 0) is earlier than the one before it; expected them sorted by time; give the "
                    "option sort=true to sort in memory, or sort=10s for what is late by no more than that, or check the file for damage"
                )
            last = int(arrival[-1])
        seq = np.arange(done, done + rows, dtype=np.uint64)
        try:
            batch = batch_of({**chunk, "arrival_ns": arrival, "seq": seq}, rows)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
            raise InvalidInput(
                f"{path}: requests {done} to {done + rows - 1}: {one_line(error)}; expected values that fit "
                "the canonical types; check the columns' units"
            ) from error
        for name in _COUNTS:
            if name in chunk and present(batch, name).any() and (least := ints(batch, name).min()) < 0:
                raise InvalidInput(f"{path}: requests {done} to {done + rows - 1}: {name} of {least}; expected 0 or more; correct the file")
        done += rows
        yield batch


def _in_order(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrival = ints(batch, "arrival_ns")
    if (arrival[1:] >= arrival[:-1]).all():
        return batch
    return batch.take(pa.array(np.argsort(arrival, kind="stable")))


def _sorted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    whole = joined(list(batches))
    order = np.argsort(ints(whole, "arrival_ns"), kind="stable")
    table = pa.Table.from_batches([whole]).take(pa.array(order))
    yield from table.combine_chunks().cast(SCHEMA).to_batches()


def _within(path: Path, batches: Iterator[pa.RecordBatch], window_ns: int) -> Iterator[pa.RecordBatch]:
    """Sorts rows that are late by at most the window, holding what may still be overtaken."""
    held: list[pa.RecordBatch] = []
    latest = given = -(2**63)
    for batch in batches:
        arrival = ints(batch, "arrival_ns")
        before = np.maximum.accumulate(np.concatenate(([latest], arrival)))[:-1]
        late = np.flatnonzero((before - arrival > window_ns) & (before > -(2**63)))
        if len(late):
            row = int(ints(batch, "seq")[late[0]])
            behind = int(before[late[0]] - arrival[late[0]])
            raise InvalidInput(
                f"{path}: request {row} (from 0) comes {behind / 1e9:g} s after a later one; expected at most "
                f"{window_ns / 1e9:g} s as the option sort says; widen it, or give sort=true to sort the whole in memory"
            )
        latest = max(latest, int(arrival.max()))
        held.append(batch)
        settled = latest - window_ns
        if settled <= given or sum(each.num_rows for each in held) < BATCH_ROWS:
            continue
        whole = _in_order(joined(held))
        split = int(np.searchsorted(ints(whole, "arrival_ns"), settled, side="left"))
        if split:
            yield whole.slice(0, split)
        held, given = [whole.slice(split)] if split < whole.num_rows else [], settled
    if held:
        yield _in_order(joined(held))
