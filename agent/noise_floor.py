"""What the instrument itself adds: the engine against a server that does nothing but answer, on this machine, just before a run.

Whatever is measured below the floor's figures is not the system. The server is the built-in echo in a process of its own, off the
engine's cores where there are others.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from agent import _engine
from traces.errors import OutOfReach

DEFAULT_RATE_PER_S = 10_000.0
MOST_RATE_PER_S = 50_000.0
_BYTES = 64
_LEAD_NS = 20_000_000
_TIMEOUT_S = 10.0


def measure(cores: Sequence[int], connections: int, rate_per_s: float = DEFAULT_RATE_PER_S, seconds: float = 1.0) -> dict[str, Any]:
    """Poisson arrivals over TCP; slip, service and response in microseconds. Raises OutOfReach where no echo can be started."""
    rate = min(max(rate_per_s, 100.0), MOST_RATE_PER_S)
    allowed = os.sched_getaffinity(0)
    elsewhere = (allowed - set(cores)) or allowed
    command = [sys.executable, "-m", "agent.targets", "echo", "--mode", "block", "--until-stdin-closes"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdin is not None and server.stdout is not None
        os.sched_setaffinity(server.pid, elsewhere)
        words = server.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise OutOfReach("noise floor: the built-in echo did not start; offspec target echo says why")
        figures = _replay(int(words[1]), cores, connections, rate, seconds)
    finally:
        server.stdin.close()  # type: ignore[union-attr]
        try:
            server.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    return {"server": "echo", "rate_per_s": rate, "server_cores": sorted(elsewhere), "engine_cores": list(cores), **figures}


def _replay(port: int, cores: Sequence[int], connections: int, rate: float, seconds: float) -> dict[str, Any]:
    count = max(100, int(rate * seconds))
    gaps = np.random.default_rng(1).exponential(1e9 / rate, count)
    rows = pa.table({"arrival_ns": np.cumsum(gaps).astype(np.int64), "req_bytes": pa.array(np.full(count, _BYTES))})
    engine = _engine.Replay(driver="tcp", host="127.0.0.1", port=port, connections=connections, cores=list(cores))
    engine.connect()
    intervals: list[_engine.Interval] = []
    totals = engine.run(rows, time.monotonic_ns() + _LEAD_NS, intervals.extend)
    found: dict[str, Any] = {"requests": totals.scheduled, "completed": totals.completed}
    for kind in ("slip", "service", "response"):
        hdr = _engine.hdr_merge([getattr(i, kind) for i in intervals])
        p50, p99 = _engine.hdr_quantiles(hdr, [0.5, 0.99])
        found[f"{kind}_us"] = {"p50": p50 / 1000, "p99": p99 / 1000}
    return found
