"""`python -m tests.bench.traces`: how fast traces are read, imported, bent and described, beside DuckDB and Arrow's own readers.

Every measurement is a process of its own, pinned to one core; rounds are interleaved. Writes docs/bench-traces.json and .md.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.engine.machine import ROOT, commit, machine, steal_s
from tests.bench.traces.jobs import BENDS, JOBS, MAKERS, make_csv, make_oracle
from tests.bench.traces.syntheses import SPECS

PEERS = {"import_csv": "duckdb_csv", "read_jsonl": "pyarrow_jsonl"}
"""Whose rows per second ours are divided by."""
ORACLE_ROWS = 5
"""Times as many rows of oracleGeneral, which is read in a fraction of the time."""
MOST_ROUNDS_ALONE = 3
"""Of what has no peer and is not imported: two thirds of all there is to measure."""
SAID = {
    "import_csv": "csv to canonical Parquet",
    "duckdb_csv": "csv to Parquet by DuckDB (COPY, zstd)",
    "read_oracle": "oracleGeneral to canonical batches",
    "import_oracle": "oracleGeneral to canonical Parquet",
    "read_jsonl": "jsonl to canonical batches",
    "pyarrow_jsonl": "jsonl to a table by pyarrow.json",
    "import_jsonl": "jsonl to canonical Parquet",
    "read_parquet": "canonical Parquet to batches",
    "transform": "rate_scale, op_mix and burst in a chain (reading included)",
    "info": "trace info",
} | {f"bend:{text}": f"`{text}`" for text in BENDS}
BENT = [name for name in JOBS if name.startswith("bend:")]


def measure(name: str, folder: Path, cores: set[int]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.traces.jobs", name, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    did: dict[str, Any] = json.loads(ended.stdout)
    did["rows_per_s"] = did["rows"] / did["wall_s"]
    return did


def row(name: str, runs: list[dict[str, Any]], peers: list[dict[str, Any]] | None) -> dict[str, Any]:
    rates = [run["rows_per_s"] for run in runs]
    low, _, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else (rates[0],) * 3
    over = statistics.median(mine["rows_per_s"] / theirs["rows_per_s"] for mine, theirs in zip(runs, peers, strict=True)) if peers else None
    return {
        "name": name, "said": SAID.get(name) or f"made: `{SPECS[name]}`", "rows": runs[0]["rows"], "rows_per_s": statistics.median(rates),
        "quartiles": [low, high],
        "cpu_s_per_million": statistics.median(run["cpu_s"] / run["rows"] * 1e6 for run in runs),
        "peak_mib": max(run["peak_mib"] for run in runs), "over_peer": over,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "|  | rows | rows/s | quartiles | ÷ peer | CPU s per million | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in rows:
        low, high = each["quartiles"]
        over = f"{each['over_peer']:.2f}" if each["over_peer"] is not None else ""
        lines.append(
            f"| {each['said']} | {each['rows']:,} | {each['rows_per_s']:,.0f} | {low:,.0f} to {high:,.0f} | {over} | "
            f"{each['cpu_s_per_million']:.3g} | {each['peak_mib']:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.traces", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="WORD,...", help="the measurements whose names have one of these in them")
    parser.add_argument("--long", action="store_true", help="also 10^8 rows through import, transform and info, once, for their memory")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "bench-traces.json")
    parser.add_argument("--markdown", type=Path, default=ROOT / "docs" / "bench-traces.md")
    args = parser.parse_args()
    names = [name for name in JOBS if any(word in name for word in args.only.split(","))]
    before = steal_s()
    long: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="offspec-bench-") as held:
        folder = Path(held)
        make_csv(folder / "trace.csv", args.rows // 2)
        _hold(folder)
        for file, make in MAKERS.items():
            make(folder / file, args.rows * (ORACLE_ROWS if make is make_oracle else 1))
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for number in range(args.rounds):
            for name in (each for each in names if number < MOST_ROUNDS_ALONE or each not in (*SPECS, *BENT)):
                runs[name].append(measure(name, folder, {1} & os.sched_getaffinity(0) or os.sched_getaffinity(0)))
                print(f"round {number + 1}  {name}: {runs[name][-1]['rows_per_s']:,.0f} rows/s", file=sys.stderr, flush=True)
        if args.long:
            MAKERS["trace.oracleGeneral.bin"](folder / "trace.oracleGeneral.bin", 100_000_000)
            for name in ("import_oracle", "transform", "info"):
                if name == "transform":
                    (folder / "imported.parquet").replace(folder / "held.parquet")
                long.append(row(name, [measure(name, folder, os.sched_getaffinity(0))], None))
                print(f"long  {name}: {long[-1]['rows_per_s']:,.0f} rows/s, {long[-1]['peak_mib']:.0f} MiB", file=sys.stderr, flush=True)
    rows = [row(name, runs[name], runs.get(PEERS.get(name, ""))) for name in names]
    about = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(before),
        "rounds": args.rounds,
    }
    args.json.write_text(json.dumps({**about, "rows": rows, "long": long}, indent=1) + "\n")
    here = about["machine"]
    page = (
        f"# How fast traces are handled\n\nMade by `make bench-traces` ({args.rounds} interleaved rounds, "
        f"{min(args.rounds, MOST_ROUNDS_ALONE)} of single transforms and made traces, one core each), {about['date']}, offspec "
        f"{about['commit']}. {here['cpu']}, {here['cores']} cores, Linux {here['kernel']}. Medians and "
        "quartiles of the rounds; `÷ peer` is the median of the rounds' ratios to the line below it.\n\n"
        f"{table(rows)}\n"
    )
    if long:
        page += f"\n## In constant memory\n\nOnce each, 10^8 rows, all cores.\n\n{table(long)}\n"
    args.markdown.write_text(page)
    print(page)
    return 0


def _hold(folder: Path) -> None:
    measure("import_csv", folder, os.sched_getaffinity(0))
    (folder / "imported.parquet").rename(folder / "held.parquet")


if __name__ == "__main__":
    sys.exit(main())
