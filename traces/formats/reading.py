"""What the readers of files share: opening, a trace out of chunks with absolute stamps, errors that name the
row.

A reader yields dictionaries of columns whose `arrival_ns` is on the source's own clock; here it becomes a
canonical, checked stream. Rows must come sorted; `sort=true` sorts them in memory, at the price of holding
them all.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS, SCHEMA, Column, TraceMeta, batch_of, ints, present
from traces.stream import StreamTrace, joined, rebatched

READER_VERSION = "1"
Chunk = dict[str, Column]
"""Columns of some rows. `arrival_ns` (int64, the source's clock) may only be left out where the source has no
times.
"""

_COUNTS = (
    "req_bytes",
    "resp_bytes",
    "offset_bytes",
    "ttl_ms",
    "prompt_tokens",
    "output_tokens",
    "service_ns",
)
_COMPRESSED = {".gz", ".zst", ".bz2", ".lz4"}


def compressed(path: Path) -> bool:
    return path.suffix in _COMPRESSED


def stem(path: Path) -> str:
    """The file's name without its last suffix, and without that of its compression."""
    return Path(path.stem).stem if compressed(path) else path.stem


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_options(options: Mapping[str, str], known: tuple[str, ...], where: str) -> None:
    for name in options:
        if name not in known:
            raise InvalidInput(f"{where}: option {name!r} is unknown; expected one of {', '.join(known)}")


def file_trace(
    path: Path,
    meta: TraceMeta,
    read: Callable[[], Iterator[Chunk]],
    options: Mapping[str, str],
    rows_hint: int | None = None,
) -> StreamTrace:
    """A Trace over `read`. Reads the first chunk now: it gives the source's clock at arrival 0, and early
    errors.
    """
    first = next((chunk for chunk in read() if chunk_rows(chunk)), None)
    if first is None:
        raise InvalidInput(f"{path}: no rows; expected at least one request; fetch the file again")
    sort = options.get("sort", "false")
    if not meta.kinds:
        meta = dataclasses.replace(meta, kinds=_kinds(read))
    if sort not in ("true", "false"):
        raise InvalidInput(f"{path}: option sort: {sort!r}; expected true or false")
    timed = "arrival_ns" in first
    if not timed:
        meta = dataclasses.replace(meta, arrival_model="none")
    offset = _earliest(read, first, sort == "true") if timed else 0
    meta = dataclasses.replace(
        meta,
        source_path=path.name,
        source_sha256=file_sha256(path),
        source_offset_ns=offset,
        cut=meta.cut or "whole file, from its first row",
        importer_version=READER_VERSION,
        import_args=dict(options),
        name=meta.name or stem(path),
    )
    used = sorted(options.items())
    said = f"file {meta.source_sha256} as {meta.importer} {READER_VERSION} {used} named {meta.name}"

    def make() -> Iterator[pa.RecordBatch]:
        batches = _canonical(path, read, offset, in_order=sort == "false")
        return _sorted(batches) if sort == "true" else batches

    return StreamTrace(
        meta=meta,
        make=make,
        origin=lambda: said,
        rows_hint=rows_hint,
    )


def chunk_rows(chunk: Chunk) -> int:
    return max(len(column) for column in chunk.values() if not isinstance(column, str))


def _arrivals(chunk: Chunk) -> npt.NDArray[np.int64]:
    column = chunk["arrival_ns"]
    assert isinstance(column, np.ndarray)
    return column


def _earliest(read: Callable[[], Iterator[Chunk]], first: Chunk, whole: bool) -> int:
    if not whole:
        return int(_arrivals(first)[0])
    return min(int(_arrivals(chunk).min()) for chunk in read() if chunk_rows(chunk))


def _kinds(read: Callable[[], Iterator[Chunk]]) -> tuple[str, ...]:
    """Of a source that names the kind in each row."""
    found: set[str] = set()
    for chunk in read():
        column = chunk["kind"]
        found.update([column] if isinstance(column, str) else pc.unique(pa.array(column)).to_pylist())
    return tuple(sorted(found))


def _canonical(path: Path, read: Callable[[], Iterator[Chunk]], offset: int, *, in_order: bool) -> Iterator[pa.RecordBatch]:
    done, last = 0, 0
    for chunk in read():
        rows = chunk_rows(chunk)
        if not rows:
            continue
        arrival = _arrivals(chunk) - offset if "arrival_ns" in chunk else np.zeros(rows, dtype=np.int64)
        if in_order:
            before = np.concatenate(([last], arrival[:-1]))
            back = np.flatnonzero(arrival < before)
            if len(back):
                raise InvalidInput(
                    f"{path}: request {done + int(back[0])} (from 0) is earlier than the one before it; "
                    "expected them sorted by time; give the option sort=true to sort in memory, or check "
                    "the file for damage"
                )
            last = int(arrival[-1])
        seq = np.arange(done, done + rows, dtype=np.uint64)
        try:
            batch = batch_of({**chunk, "arrival_ns": arrival, "seq": seq}, rows)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(
                f"{path}: requests {done} to {done + rows - 1}: {one_line(error)}; expected values that fit "
                "the canonical types; check the columns' units"
            ) from error
        for name in _COUNTS:
            if present(batch, name).any() and (least := ints(batch, name).min()) < 0:
                raise InvalidInput(f"{path}: requests {done} to {done + rows - 1}: {name} of {least}; expected 0 or more; correct the file")
        done += rows
        yield from rebatched([batch], BATCH_ROWS)


def _sorted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    whole = joined(list(batches))
    order = np.argsort(ints(whole, "arrival_ns"), kind="stable")
    table = pa.Table.from_batches([whole]).take(pa.array(order))
    yield from rebatched(table.combine_chunks().cast(SCHEMA).to_batches(), BATCH_ROWS)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def records(path: Path, dtype: np.dtype[np.void], what: str) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
    """Fixed-size records with the byte offset of the first of each lot. Raises InvalidInput for a record cut
    short.
    """
    size, at = dtype.itemsize, 0
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            while data := stream.read(size * BATCH_ROWS):
                if len(data) % size:
                    cut = at + len(data) // size * size
                    raise InvalidInput(
                        f"{path}: byte {cut}: the file ends {len(data) % size} bytes into a record; "
                        f"expected {what} records of {size} bytes; fetch the file again or name another "
                        "--format"
                    )
                yield at, np.frombuffer(data, dtype=dtype)
                at += len(data)
    except OSError as error:
        raise InvalidInput(f"{path}: byte {at}: {one_line(error)}; expected readable {what} records; fetch the file again") from error


def record_rows(path: Path, size: int, what: str) -> int | None:
    """Rows of a file of fixed-size records, where its length tells. Refuses a length that is no multiple."""
    if compressed(path):
        return None
    rows, rest = divmod(path.stat().st_size, size)
    if rest:
        raise InvalidInput(
            f"{path}: byte {rows * size}: the file ends {rest} bytes into a record; expected {what} records "
            f"of {size} bytes; fetch the file again or name another --format"
        )
    return rows
