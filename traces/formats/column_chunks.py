"""Row groups of a Parquet file by column, where equal bytes are decoded once. Most columns of most traces say nothing, or one thing, in
every row; their chunks are the same few bytes in every row group, and decoding them again is most of the time that reading takes.
"""

import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_SMALL_BYTES = 512
"""Chunks up to this are compared; what does not repeat is larger."""


class ColumnChunks:
    """Whole columns of row groups. Holds, for each column, the last chunk that was small, with its bytes.

    Bytes that are equal decode to equal values: a chunk holds its pages with their headers, dictionary included, and the type is the
    file's. `raw` is the same file as `file`.
    """

    def __init__(self, file: pq.ParquetFile, raw: BinaryIO, columns: Sequence[str]) -> None:
        self._file, self._raw, self._columns = file, raw, columns
        leaves = [file.schema.column(place).path.split(".")[0] for place in range(len(file.schema))]
        self._leaves = {name: [place for place, leaf in enumerate(leaves) if leaf == name] for name in columns}
        self._held: dict[str, tuple[bytes, pa.ChunkedArray]] = {}

    def table(self, group: int) -> pa.Table:
        """These columns of a row group. Raises what pyarrow raises, and OSError."""
        found = self._small(group)
        known = {name: self._held[name][1] for name, said in found.items() if name in self._held and self._held[name][0] == said}
        wanted = [name for name in self._columns if name not in known]
        read = dict(zip(wanted, self._file.read_row_group(group, columns=wanted).select(wanted).columns, strict=True)) if wanted else {}
        columns = [known[name] if name in known else read[name] for name in self._columns]
        for name, column in zip(self._columns, columns, strict=True):
            if name in found:
                self._held[name] = found[name], column
        return pa.Table.from_arrays(columns, names=list(self._columns))

    def _small(self, group: int) -> Mapping[str, bytes]:
        """The bytes of each column whose chunk is small, with its number of values."""
        meta, found = self._file.metadata.row_group(group), {}
        for name, leaves in self._leaves.items():
            said = b""
            for leaf in leaves:
                chunk = meta.column(leaf)
                size = chunk.total_compressed_size
                if size > _SMALL_BYTES:
                    break
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                said += chunk.num_values.to_bytes(8, "little") + os.pread(self._raw.fileno(), size, start)
            else:
                found[name] = said
        return found
