"""What is measured, each in a process of its own: `python -m tests.bench.traces.jobs NAME FOLDER ROWS`, one JSON document on stdout.

Files are made before, by `make_files`. Peak memory is that of the process.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from tests.bench.traces.syntheses import SPECS, made
from traces.compile import save_trace
from traces.formats.oracle_general import RECORD
from traces.source import open_trace
from traces.transforms import TransformSpec, apply

LOT = 1_000_000
CHAIN = (TransformSpec("rate_scale", 0.5), TransformSpec("op_mix", "get=0.5,set=0.5"), TransformSpec("burst", 4.0))


def make_csv(path: Path, rows: int) -> None:
    rng = np.random.default_rng(1)
    clock = 0.0
    schema = pa.schema({"arrival_s": pa.float64(), "op": pa.utf8(), "key": pa.int64(), "resp_bytes": pa.int64()})
    with pacsv.CSVWriter(path, schema) as writer:
        for at in range(0, rows, LOT):
            count = min(LOT, rows - at)
            arrival = clock + np.cumsum(rng.exponential(1e-5, count))
            clock = float(arrival[-1])
            columns = [
                np.round(arrival, 6),
                np.where(rng.random(count) < 0.9, "get", "set"),
                rng.integers(0, 100_000, count),
                rng.integers(10, 1000, count),
            ]
            writer.write(pa.record_batch([pa.array(column) for column in columns], schema=schema))


def make_jsonl(path: Path, rows: int) -> None:
    table = pacsv.read_csv(path.with_suffix(".csv")).slice(0, rows)
    with path.open("w") as file:
        for batch in table.to_batches(max_chunksize=100_000):
            file.writelines(json.dumps(row) + "\n" for row in batch.to_pylist())


def make_oracle(path: Path, rows: int) -> None:
    rng = np.random.default_rng(1)
    with path.open("wb") as file:
        for at in range(0, rows, LOT):
            count = min(LOT, rows - at)
            lot = np.zeros(count, dtype=RECORD)
            lot["ts_s"] = (at + np.arange(count)) // 100_000
            lot["object"], lot["size"], lot["next"] = rng.zipf(1.3, count).astype(np.uint64), 4096, -1
            file.write(lot.tobytes())


MAKERS: dict[str, Callable[[Path, int], None]] = {"trace.csv": make_csv, "trace.jsonl": make_jsonl, "trace.oracleGeneral.bin": make_oracle}


def import_csv(folder: Path) -> int:
    return save_trace(open_trace(folder / "trace.csv"), folder / "imported.parquet").rows


def duckdb_csv(folder: Path) -> int:
    import duckdb

    threads = len(__import__("os").sched_getaffinity(0))
    duckdb.execute(f"set threads={threads}")
    source, target = folder / "trace.csv", folder / "duckdb.parquet"
    duckdb.execute(f"copy (select * from read_csv('{source}')) to '{target}' (format parquet, compression zstd)")
    return int(pq.read_metadata(target).num_rows)


def read_oracle(folder: Path) -> int:
    return sum(batch.num_rows for batch in open_trace(folder / "trace.oracleGeneral.bin").batches())


def import_oracle(folder: Path) -> int:
    return save_trace(open_trace(folder / "trace.oracleGeneral.bin"), folder / "imported.parquet").rows


def read_jsonl(folder: Path) -> int:
    return sum(batch.num_rows for batch in open_trace(folder / "trace.jsonl", format="jsonl").batches())


def pyarrow_jsonl(folder: Path) -> int:
    return int(pajson.read_json(folder / "trace.jsonl").num_rows)


def transform(folder: Path) -> int:
    trace = open_trace(folder / "held.parquet")
    rows = trace.rows_hint or 0
    for _ in apply(trace, CHAIN, 7).batches():
        pass
    return rows


def read_parquet(folder: Path) -> int:
    return sum(batch.num_rows for batch in open_trace(folder / "held.parquet").batches())


def info(folder: Path) -> int:
    from traces.characterise import describe

    return int(describe(open_trace(folder / "held.parquet"))["arrival"]["rows"])


JOBS: dict[str, Callable[[Path], int]] = {
    job.__name__: job
    for job in (import_csv, duckdb_csv, read_oracle, import_oracle, read_jsonl, pyarrow_jsonl, read_parquet, transform, info)
} | {name: partial(made, name) for name in SPECS}


def main() -> int:
    name, folder = sys.argv[1], Path(sys.argv[2])
    began = time.perf_counter()
    rows = JOBS[name](folder)
    wall_s = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"rows": rows, "wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
