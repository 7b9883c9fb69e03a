"""How fast the engine reads a compiled trace from disk: all of it, into a driver that completes at once, and in how much memory."""

from contextlib import nullcontext
from pathlib import Path

from tests.bench.engine.contestant import GENERATOR_CORE, Failed, Load, Measured
from tests.bench.engine.peers.offspec import Offspec, measured, replay
from tests.bench.engine.race import Plan, Race
from traces.compile import compile_workload
from traces.source import open_trace

ROWS, LONG_ROWS = 20_000_000, 100_000_000
RATE_PER_S = 1_000_000
LEAST_ROWS_PER_S = 50_000
"""Slower than this is not waited for."""


class Feed(Offspec):
    name = "offspec"
    loop = "drained"
    paces = False
    driver, pipeline = "null", 1024

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder, self._rows = folder, rows

    def run(self, load: Load) -> Measured:
        trial = self.order(load, requests=1000, window=1000, cores=(GENERATOR_CORE,))
        try:
            replay(trial, 60)
        except Failed as failed:
            raise Failed(f"no driver `null`: {failed}") from failed
        path = compile_workload(
            open_trace(f"poisson:{RATE_PER_S}/s,keys=100000,get=0.9,for={self._rows // RATE_PER_S}s,seed=1"), [], driver="redis",
            duration_ns=self._rows * 1_000_000_000 // RATE_PER_S, out_dir=self._folder,
        ).path  # fmt: skip
        did = replay(self.order(load, trace=str(path), drain=True, window=load.connections * self.pipeline), self._rows / LEAST_ROWS_PER_S)
        if did["completed"] != did["scheduled"]:
            raise Failed(f"{did['completed']} of {did['scheduled']} rows completed, errors {did['errors']}")
        given = measured(did, did["scheduled"] / did["wall_s"])
        given.details.update(peak_rss_mib=did["rss_bytes"] / 2**20, file_mib=path.stat().st_size / 2**20, rows=did["scheduled"])
        return given


def races(plan: Plan, folder: Path) -> list[Race]:
    rows = LONG_ROWS if plan.long else ROWS
    return [Race("Feed", f"{rows // 1_000_000} M rows of Parquet", lambda: nullcontext(9), [Feed(folder, rows)], unit="rows/s")]
