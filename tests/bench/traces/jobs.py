"""What is measured, each in a process of its own: `python -m tests.bench.traces.jobs NAME FOLDER ROWS`, one JSON document on stdout.

Files are made before, by MAKERS. Libraries are imported and all formats registered before the clocks start, ours as the peers': a
trace of any length pays that once. CPU is user and system time of all threads of the process within the clocks, peak memory that of the
whole process.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from tests.bench.traces.syntheses import SPECS, made
from traces.compile import save_trace
from traces.formats import formats
from traces.formats.oracle_general import RECORD
from traces.schema import BATCH_ROWS, SCHEMA, TraceMeta, batch_of
from traces.source import open_trace
from traces.stream import StreamTrace
from traces.transforms import TransformSpec, apply
from traces.transforms.written import spec_of_text

LOT = 1_000_000
BENDS = (
    "speedup=2", "rate_scale=0.5", "rate_scale=0.5,by=key", "rate_scale=2", "superpose=2", "burst=4", "mmpp=4,dwell=100ms",
    "diurnal=0.5,period=5s", "phase_shift=25%", "zipf=1.2", "hotset_shift=0.1,period=1s", "correlated_burst=0.5,every=2s,for=500ms",
    "key_amplify=4", "grow=0.5,period=5s", "churn=0.1,period=5s", "op_mix=0.5", "size_scale=2", "size_map=lognormal:300:1", "clamp=64KiB",
    "token_scale=0.5", "shuffle=order", "shuffle=keys", "shuffle=gaps", "mix={value: 'poisson:1000,keys=1000,rows=100000', share: 0.3}",
)  # fmt: skip
"""What is measured one by one; of as many rows as are read, or come out where they are more."""
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


def make_tokens(path: Path, rows: int) -> None:
    """Inferences with prefixes of four blocks."""
    rng = np.random.default_rng(1)

    def batches() -> Iterator[pa.RecordBatch]:
        for at in range(0, rows, BATCH_ROWS):
            count = min(BATCH_ROWS, rows - at)
            blocks = pa.array(rng.integers(0, 1 << 40, 4 * count).astype(np.uint64))
            prefix = pa.ListArray.from_arrays(
                pa.array(np.arange(count + 1, dtype=np.int32) * 4), blocks, type=SCHEMA.field("prefix_hashes").type
            )
            tokens = {name: np.full(count, 2048, dtype=np.int32) for name in ("prompt_tokens", "output_tokens")}
            seq = np.arange(at, at + count, dtype=np.uint64)
            yield batch_of(
                {"arrival_ns": seq.astype(np.int64) * 10_000, "seq": seq, "kind": "llm", "op": "chat", "prefix_hashes": prefix, **tokens},
                count,
            )

    save_trace(StreamTrace(TraceMeta(name="tokens", kinds=("llm",), llm_block_tokens=512), batches, lambda: "tokens", rows), path)


MAKERS: dict[str, Callable[[Path, int], None]] = {
    "trace.csv": make_csv,
    "trace.jsonl": make_jsonl,
    "trace.oracleGeneral.bin": make_oracle,
    "tokens.parquet": make_tokens,
}


def import_csv(folder: Path) -> int:
    return save_trace(open_trace(folder / "trace.csv"), folder / "imported.parquet").rows


def duckdb_csv(folder: Path) -> int:
    import duckdb

    duckdb.execute(f"set threads={len(os.sched_getaffinity(0))}")
    source, target = folder / "trace.csv", folder / "duckdb.parquet"
    duckdb.execute(f"copy (select * from read_csv('{source}')) to '{target}' (format parquet, compression zstd)")
    return int(pq.read_metadata(target).num_rows)


def read_oracle(folder: Path) -> int:
    return sum(batch.num_rows for batch in open_trace(folder / "trace.oracleGeneral.bin").batches())


def import_oracle(folder: Path) -> int:
    return save_trace(open_trace(folder / "trace.oracleGeneral.bin"), folder / "imported.parquet").rows


def read_jsonl(folder: Path) -> int:
    return sum(batch.num_rows for batch in open_trace(folder / "trace.jsonl", format="jsonl").batches())


def import_jsonl(folder: Path) -> int:
    return save_trace(open_trace(folder / "trace.jsonl", format="jsonl"), folder / "imported.parquet").rows


def pyarrow_jsonl(folder: Path) -> int:
    return int(pajson.read_json(folder / "trace.jsonl").num_rows)


def transform(folder: Path) -> int:
    return _bent(folder / "held.parquet", CHAIN)


def bend(folder: Path, text: str) -> int:
    """One transform of a trace that has what it bends."""
    return _bent(folder / ("tokens.parquet" if text.startswith("token") else "held.parquet"), (spec_of_text(text),))


def _bent(path: Path, specs: Sequence[TransformSpec]) -> int:
    trace = open_trace(path)
    out = sum(batch.num_rows for batch in apply(trace, specs, 7).batches())
    return max(trace.rows_hint or 0, out)


def read_parquet(folder: Path) -> int:
    return sum(batch.num_rows for batch in open_trace(folder / "held.parquet").batches())


def info(folder: Path) -> int:
    from traces.characterise import describe

    return int(describe(open_trace(folder / "held.parquet"))["arrival"]["rows"])


JOBS: dict[str, Callable[[Path], int]] = (
    {
        job.__name__: job
        for job in (
            import_csv,
            duckdb_csv,
            read_oracle,
            import_oracle,
            read_jsonl,
            pyarrow_jsonl,
            import_jsonl,
            read_parquet,
            transform,
            info,
        )
    }
    | {name: partial(made, name) for name in SPECS}
    | {f"bend:{text}": partial(bend, text=text) for text in BENDS}
)


def main() -> int:
    name, folder = sys.argv[1], Path(sys.argv[2])
    _load(name)
    began, cpu_began = time.perf_counter(), time.process_time()
    rows = JOBS[name](folder)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "wall_s": wall_s, "cpu_s": cpu_s, "peak_mib": peak_mib, "cores": len(os.sched_getaffinity(0))}))
    return 0


def _load(name: str) -> None:
    """What a job imports when it begins."""
    if name.startswith("duckdb"):
        import duckdb

        duckdb.execute("select 1")
    elif not name.startswith("pyarrow"):
        for batch in open_trace("poisson:1000,keys=10,rows=10").batches():
            batch.validate()
        formats()


if __name__ == "__main__":
    sys.exit(main())
