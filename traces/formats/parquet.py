"""Parquet: our own traces as they are, others by column names or options (see traces.formats.columns)."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from traces.errors import InvalidInput
from traces.formats import columns as column_maps
from traces.formats.bytes_in import one_line
from traces.formats.column_chunks import ColumnChunks
from traces.formats.reading import Chunk, check_options, file_sha256, file_trace
from traces.schema import BATCH_ROWS, PREFIX, SCHEMA, SCHEMA_VERSION, TraceMeta, conform, ints, nulls
from traces.signal import SIGNAL, SIGNAL_SCHEMA, Signal
from traces.stream import StreamTrace, Trace


class Parquet:
    name = "parquet"
    summary = "offspec's own traces and signals as they are; other Parquet by column names or options as for csv"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if head[:4] == b"PAR1" else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace | Signal:
        with open_parquet(path) as file:
            meta = canonical_meta(path, file)
            if meta is not None:
                check_options(options, (), f"{path} (a trace of offspec's own)")
                if meta.kinds == (SIGNAL,):
                    return Signal(meta, lambda: _samples(path), lambda: f"signal {file_sha256(path)}")
                return canonical_trace(path, meta, file.metadata.num_rows)
            return _foreign(path, file, options)


def open_parquet(path: Path) -> pq.ParquetFile:
    """Raises InvalidInput for what is no whole Parquet file."""
    try:
        file = pq.ParquetFile(path)
        _ = file.schema_arrow.names  # names that are no text are found out here
        return file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path}: no whole Parquet file ({path.stat().st_size if path.exists() else 0} bytes): "
            f"{one_line(error)}; expected one with its footer; it was cut short: fetch or compile it again"
        ) from error


def canonical_meta(path: Path, file: pq.ParquetFile) -> TraceMeta | None:
    """The metadata of a canonical trace, None for other Parquet files. Raises InvalidInput for a damaged or
    newer one.
    """
    raw = file.metadata.metadata or {}
    if f"{PREFIX}schema_version".encode() not in raw:
        return None
    try:
        meta = TraceMeta.from_metadata(raw)
    except ValueError as error:
        raise InvalidInput(f"{path}: metadata {PREFIX}*: {error}; expected what offspec wrote; compile it again") from error
    if meta.schema_version > SCHEMA_VERSION:
        raise InvalidInput(f"{path}: schema version {meta.schema_version}; expected at most {SCHEMA_VERSION}; use a newer offspec")
    missing = set((SIGNAL_SCHEMA if meta.kinds == (SIGNAL,) else SCHEMA).names) - set(file.schema_arrow.names)
    if missing:
        raise InvalidInput(f"{path}: column {', '.join(sorted(missing))} is missing; expected a canonical trace; compile it again")
    return meta


def canonical_trace(path: Path, meta: TraceMeta, rows: int) -> StreamTrace:
    return StreamTrace(
        meta=meta,
        make=lambda: canonical_batches(path),
        origin=lambda: f"canonical {file_sha256(path)}",
        rows_hint=rows,
        narrow=lambda columns: canonical_batches(path, columns),
    )


def canonical_batches(path: Path, columns: Collection[str] = tuple(SCHEMA.names)) -> Iterator[pa.RecordBatch]:
    """Batches of a canonical file, one row group each; `columns` that are not read are null. Raises InvalidInput naming the row group
    that cannot be read.
    """
    last = -(2**63)
    with open_parquet(path) as file, path.open("rb") as raw:
        wanted = [name for name in SCHEMA.names if name in columns or name == "arrival_ns"]
        chunks = ColumnChunks(file, raw, wanted)
        for group in range(file.num_row_groups):
            try:
                table = chunks.table(group)
                batches = [
                    pa.RecordBatch.from_arrays(
                        [conform(batch.column(f.name), f.type) if f.name in wanted else nulls(batch.num_rows, f.type) for f in SCHEMA],
                        schema=SCHEMA,
                    )
                    for batch in table.to_batches(max_chunksize=BATCH_ROWS)
                ]
            except (pa.ArrowException, OSError, KeyError) as error:
                raise InvalidInput(
                    f"{path}: row group {group}: {one_line(error)}; expected readable canonical columns; "
                    "the file is damaged: fetch or compile it again"
                ) from error
            for batch in batches:
                arrival = ints(batch, "arrival_ns")
                if len(arrival) and (arrival[0] < last or (np.diff(arrival) < 0).any()):
                    raise InvalidInput(
                        f"{path}: row group {group}: requests are not sorted by arrival_ns; expected them sorted; compile it again"
                    )
                last = int(arrival[-1]) if len(arrival) else last
                yield batch


def _samples(path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of a signal that was written by offspec."""
    with open_parquet(path) as file:
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=SIGNAL_SCHEMA.names):
                yield pa.RecordBatch.from_arrays([conform(batch.column(f.name), f.type) for f in SIGNAL_SCHEMA], schema=SIGNAL_SCHEMA)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInput(f"{path}: {one_line(error)}; expected a readable signal; the file is damaged: import it again") from error


def _foreign(path: Path, file: pq.ParquetFile, options: Mapping[str, str]) -> Trace:
    check_options(options, ("sort", "name", *column_maps.option_names()), "parquet")
    maps = column_maps.resolve(file.schema_arrow.names, options, str(path))
    needed = sorted({m.column for m in maps if m.column})
    kind = next(m.word for m in maps if m.canonical == "kind")

    def read() -> Iterator[Chunk]:
        done = 0
        with open_parquet(path) as source:
            try:
                for batch in source.iter_batches(BATCH_ROWS, columns=needed):
                    batch.validate(full=True)
                    yield column_maps.chunk_of(batch, maps, str(path), done)
                    done += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                raise InvalidInput(
                    f"{path}: after row {done}: {one_line(error)}; expected readable Parquet; the file is damaged: fetch it again"
                ) from error

    first = next(read(), None)
    stamps = first.get("arrival_ns", np.empty(0, np.int64)) if first else np.empty(0, np.int64)
    assert isinstance(stamps, np.ndarray)
    meta = TraceMeta(
        name=options.get("name", ""),
        kinds=(kind,) if kind else (),
        importer="parquet",
        arrival_resolution_ns=column_maps.grain_ns(stamps),
    )
    return file_trace(path, meta, read, options, file.metadata.num_rows)


FORMAT = Parquet()
