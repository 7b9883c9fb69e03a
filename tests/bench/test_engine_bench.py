"""How fast the engine is, as a ratio to peers in the same run. Run by `make bench`; prints a table and JSON, asserts no speed."""

import json
import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from agent import _engine

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="wants two cores: the server on one, the generator on the other"),
    pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-benchmark is not installed"),
]
PORT, CONNECTIONS, ROUNDS, SECONDS = 7821, 8, 5, 2.0
SLIP_LIMIT_NS = 1_000_000


@pytest.fixture
def redis() -> Iterator[int]:
    server = subprocess.Popen(
        ["taskset", "-c", "0", "redis-server", "--port", str(PORT), "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
    )
    time.sleep(0.5)
    yield PORT
    server.terminate()
    server.wait()


def gets(rate: float) -> pa.Table:
    n = int(rate * SECONDS)
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "arrival_ns": pa.array(np.cumsum(rng.exponential(1e9 / rate, n)).astype(np.int64)),
            "op": pa.array(["get"] * n).dictionary_encode(),
            "key_id": pa.array(rng.integers(0, 1000, n), pa.uint64()),
            "key_bytes": pa.array([16] * n, pa.uint32()),
        }
    )


def holds(rate: float, port: int) -> bool:
    """Whether the engine offers this rate on time and the server answers all of it."""
    engine = _engine.Replay(driver="redis", host="127.0.0.1", port=port, connections=CONNECTIONS, cores=[1])
    engine.connect()
    intervals: list[_engine.Interval] = []
    totals = engine.run(gets(rate).to_reader(), time.monotonic_ns() + 50_000_000, intervals.extend)
    slip = _engine.hdr_quantiles(_engine.hdr_merge([i.slip for i in intervals]), [0.99])[0]
    return totals.completed == totals.scheduled and slip <= SLIP_LIMIT_NS


def highest_open_loop_rate(port: int) -> float:
    low, high = 10_000.0, 20_000.0
    while high < 2e6 and holds(high, port):
        low, high = high, high * 2
    for _ in range(4):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle, port) else (low, middle)
    return low


def redis_benchmark(port: int, pipeline: int) -> float:
    said = subprocess.run(
        ["taskset", "-c", "1", "redis-benchmark", "-p", str(port), "-c", str(CONNECTIONS), "-n", "200000", "-t", "get", "-P", str(pipeline),
         "-r", "1000", "-q"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = re.findall(r"GET: ([\d.]+) requests per second", said)
    return float(found[-1])


@pytest.mark.timeout(900)
def test_open_loop_rate_beside_redis_benchmark(redis: int) -> None:
    """Server on core 0, generators on core 1, interleaved rounds; ratios of medians, spread as (max - min) / median."""
    figures: dict[str, list[float]] = {"offspec open loop": [], "redis-benchmark -P 1": [], "redis-benchmark -P 16": []}
    for _ in range(ROUNDS):
        figures["offspec open loop"].append(highest_open_loop_rate(redis))
        figures["redis-benchmark -P 1"].append(redis_benchmark(redis, 1))
        figures["redis-benchmark -P 16"].append(redis_benchmark(redis, 16))
    ours = statistics.median(figures["offspec open loop"])
    rows = []
    for name, values in figures.items():
        median = statistics.median(values)
        rows.append({"peer": name, "median_per_s": median, "spread": (max(values) - min(values)) / median, "ratio_of_ours": ours / median})
    print()
    for row in rows:
        print(f"{row['peer']:<24} {row['median_per_s']:>12,.0f}/s  spread {row['spread']:.0%}  ours is {row['ratio_of_ours']:.2f}x")
    print(json.dumps({"bench": "resp-get", "rounds": ROUNDS, "rows": rows}))
