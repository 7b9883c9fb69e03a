"""Samples of usage out of columns: what readers of signals share."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import stem
from traces.formats.reading import READER_VERSION, file_sha256, guarded
from traces.schema import LABEL, TraceMeta, conform
from traces.signal import SIGNAL, SIGNAL_SCHEMA, Signal
from traces.stream import file_identity


def samples(t_ns: npt.NDArray[np.int64], series: pa.Array, values: Mapping[str, pa.Array]) -> Iterator[pa.RecordBatch]:
    """One batch for each metric; a sample that is null or no number is none."""
    for metric, column in values.items():
        numbers = column.cast(pa.float64())
        known = np.isfinite(numbers.fill_null(np.nan).to_numpy(zero_copy_only=False))
        rows = int(known.sum())
        if rows:
            name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([metric]))
            kept = pa.array(known)
            columns = [pa.array(t_ns).filter(kept), conform(series, LABEL).filter(kept), name, numbers.filter(kept)]
            yield pa.RecordBatch.from_arrays(columns, schema=SIGNAL_SCHEMA)


def file_signal(
    path: Path, meta: TraceMeta, read: Callable[[], Iterator[pa.RecordBatch]], options: Mapping[str, str], files: Sequence[Path] = ()
) -> Signal:
    """A Signal over `read`. Reads its first samples now, for early errors. `files`: what it is made of, where `path` is a folder."""
    read = guarded(path, read, lambda batch: batch.num_rows, "sample")
    if next(read(), None) is None:
        raise InvalidInput(f"{path}: no samples; expected at least one; fetch the file again")
    meta = dataclasses.replace(
        meta,
        kinds=(SIGNAL,),
        name=meta.name or stem(path),
        source_path=path.name,
        cut=meta.cut or "whole file, from its first row",
        importer_version=READER_VERSION,
        import_args=dict(options),
    )

    def origin() -> str:
        hashes = " ".join(file_sha256(file) for file in files or (path,))
        return file_identity(hashes, f"as {meta.importer} {READER_VERSION} {sorted(options.items())} named {meta.name}")

    return Signal(meta, read, origin)
