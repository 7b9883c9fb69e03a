"""What repeats from row group to row group is decoded once, and what does not repeat is never taken for it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.traces.rows import table, trace_of
from traces.compile import save_trace
from traces.formats.column_chunks import ColumnChunks
from traces.formats.parquet import canonical_batches
from traces.schema import SCHEMA
from traces.source import open_trace

GROUP = 1000


def columns(rows: int) -> dict[str, pa.Array]:
    at = np.arange(rows)
    return {
        "nothing": pa.nulls(rows, pa.int64()),
        "same": pa.array(np.full(rows, 7)),
        "once": pa.array([5 if n == 2 * GROUP + 3 else None for n in at], pa.int32()),  # says something in the third group alone
        "turns": pa.array(np.where(at // GROUP % 2, 1, 2)),  # small chunks of equal size, of other values in every group
        "word": pa.array(["ab" if n // GROUP != 1 else "cd" for n in at]).dictionary_encode(),
        "lists": pa.array([None if n // GROUP != 3 else [n] for n in at], pa.list_(pa.int64())),
        "pairs": pa.nulls(rows, pa.map_(pa.utf8(), pa.utf8())),
        "much": pa.array(np.random.default_rng(1).integers(0, 2**60, rows)),
    }


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_each_row_group_is_what_the_file_holds(tmp_path: Path, compression: str) -> None:
    path, whole = tmp_path / "it.parquet", pa.table(columns(5 * GROUP + 17))
    pq.write_table(whole, path, row_group_size=GROUP, compression=compression)
    names = ["much", "lists", "nothing", "word", "turns", "once", "same", "pairs"]
    with pq.ParquetFile(path) as file, path.open("rb") as raw:
        chunks = ColumnChunks(file, raw, names)
        read = [chunks.table(group) for group in range(file.num_row_groups)]
    assert pa.concat_tables(read).equals(pq.read_table(path).select(names))
    assert pa.concat_tables(read).column("nothing").null_count == whole.num_rows


def test_what_repeats_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "it.parquet"
    pq.write_table(pa.table(columns(4 * GROUP)), path, row_group_size=GROUP)
    asked: list[list[str]] = []
    read = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
        asked.append(columns)
        return read(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    with pq.ParquetFile(path) as file, path.open("rb") as raw:
        chunks = ColumnChunks(file, raw, ["nothing", "same", "much", "pairs"])
        for group in range(4):
            chunks.table(group)
    assert asked == [["nothing", "same", "much", "pairs"], ["much"], ["much"], ["much"]]


def test_a_canonical_file_is_read_as_it_was_written_wholly_or_by_column(tmp_path: Path) -> None:
    rows = 150_000  # three row groups; one request of the second has a status, and the third has a client
    status = pa.array([200 if n == 70_000 else None for n in range(rows)], pa.int32())
    client = pa.array(["c" if n > 140_000 else None for n in range(rows)]).dictionary_encode()
    trace = trace_of({"key_id": np.arange(rows, dtype=np.uint64), "status": status, "client": client})
    path = tmp_path / "it.parquet"
    save_trace(trace, path)
    before, after = table(trace), table(open_trace(path))
    narrow = pa.Table.from_batches(list(canonical_batches(path, ("status", "client"))))
    for name in SCHEMA.names:
        assert before.column(name).to_pylist() == after.column(name).to_pylist(), name
    for name in ("arrival_ns", "status", "client"):
        assert narrow.column(name).to_pylist() == before.column(name).to_pylist(), name
    assert narrow.column("key_id").null_count == rows
