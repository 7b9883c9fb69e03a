"""One replay in a process of its own, so that its CPU time and memory are the engine's: an order as JSON on stdin, what it did on stdout.

`python -m tests.bench.engine.engine_child`; the process around it pins it. Requests are made, or opened, before the clock starts.
"""

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from agent import _engine
from tests.bench.engine.peers.keys import KEY_BYTES, KEYS
from traces.compiled import shard_batches

HEADSTART_NS = 100_000_000
SLICE_ROWS = 65_536
QUANTILES = (0.5, 0.99, 0.999)


@dataclass(frozen=True)
class Order:
    """`rate_per_s` requests for `seconds`; or, closed loop, `requests` of them. Their contents: constant, or those of `trace`."""

    driver: str
    host: str
    port: int
    connections: int
    pipeline: int
    cores: tuple[int, ...] = ()
    window: int = 0
    timeout_ms: int = 1000
    spin_us: int = 60
    rate_per_s: float = 0.0
    seconds: float = 0.0
    requests: int = 0
    seed: int = 1
    op: str = "get"
    req_bytes: int = 0
    trace: str | None = None
    drain: bool = False
    """The whole of `trace` as fast as it goes, from disk."""


@dataclass
class Second:
    second: int
    steal_ns: int
    slip_p50_ns: int
    slip_p99_ns: int
    sent: int


@dataclass
class Did:
    """`rusage_s`: of the process over the run; `cpu_s`: of the engine's threads; `overrun_ns`: from the last due to the run's end."""

    scheduled: int
    sent: int
    completed: int
    misses: int
    timed_out: int
    errors: dict[str, int]
    wall_s: float
    overrun_ns: int
    cpu_s: float
    rusage_s: float
    rss_bytes: int
    feed_starved: int
    notes: list[str]
    slip_ns: list[int]
    service_ns: list[int]
    response_ns: list[int]
    quiet_slip_ns: list[int] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)


def poisson(order: Order, requests: int) -> npt.NDArray[np.int64]:
    gaps = np.random.default_rng(order.seed).exponential(1e9 / order.rate_per_s if order.rate_per_s else 1.0, requests)
    return np.cumsum(gaps).astype(np.int64)


def made(order: Order) -> pa.Table:
    """The requests, in memory, at Poisson arrivals: contents constant, or those of the trace over and over in its order."""
    requests = order.requests or max(1, round(order.rate_per_s * order.seconds))
    arrivals = pa.array(poisson(order, requests))
    if order.trace is not None:
        contents = pq.read_table(order.trace, columns=["op", "key_id", "key_bytes", "req_bytes", "resp_bytes", "ttl_ms"]).combine_chunks()
        told = contents.take(pa.array(np.arange(requests) % contents.num_rows))
        return told.append_column("arrival_ns", arrivals)
    keys = np.random.default_rng(order.seed).integers(0, KEYS, requests)
    return pa.table(
        {
            "arrival_ns": arrivals,
            "op": pa.DictionaryArray.from_arrays(pa.array(np.zeros(requests, np.int8)), [order.op]),
            "key_id": pa.array(keys, pa.uint64()),
            "key_bytes": pa.array(np.full(requests, KEY_BYTES, np.uint32)),
            "req_bytes": pa.array(np.full(requests, order.req_bytes, np.int64)),
        }
    )


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def quantiles(parts: list[bytes]) -> list[int]:
    return _engine.hdr_quantiles(_engine.hdr_merge(parts), QUANTILES)


def replay(order: Order) -> Did:
    """Raises ValueError for a driver that the engine does not know, ConnectionError."""
    engine = _engine.Replay(
        driver=order.driver, host=order.host, port=order.port, connections=order.connections, cores=order.cores, window=order.window,
        pipeline=order.pipeline, timeout_ms=order.timeout_ms, spin_us=order.spin_us,
    )  # fmt: skip
    rows: Any
    if order.drain:
        assert order.trace is not None
        rows, last = shard_batches(Path(order.trace)), 0
    else:
        table = made(order)
        rows, last = table.to_reader(max_chunksize=SLICE_ROWS), 0 if order.window else int(table["arrival_ns"][-1].as_py())
    engine.connect()
    intervals: list[_engine.Interval] = []
    seconds: list[_engine.EngineSecond] = []
    before, t0 = cpu_s(), time.monotonic_ns() + HEADSTART_NS
    totals = engine.run(rows, t0, intervals.extend, seconds.append)
    ended, used = time.monotonic_ns(), cpu_s() - before
    steal = {second.second: 0 for second in seconds}
    for second in seconds:
        steal[second.second] += second.steal_ns
    slips = [(each, _engine.hdr_quantiles(each.slip, QUANTILES)) for each in intervals]
    return Did(
        scheduled=totals.scheduled, sent=totals.sent, completed=totals.completed, misses=totals.misses,
        timed_out=totals.timed_out, errors=totals.errors,
        wall_s=(ended - t0) / 1e9, overrun_ns=ended - t0 - last, cpu_s=sum(second.cpu_ns for second in seconds) / 1e9, rusage_s=used,
        rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, feed_starved=totals.feed_starved, notes=totals.notes,
        slip_ns=quantiles([each.slip for each in intervals]), service_ns=quantiles([each.service for each in intervals]),
        response_ns=quantiles([each.response for each in intervals]),
        quiet_slip_ns=quantiles([each.slip for each in intervals if steal.get(each.second) == 0]),
        seconds=[Second(each.second, steal.get(each.second, -1), slip[0], slip[1], each.sent) for each, slip in slips],
    )  # fmt: skip


def main() -> int:
    order = Order(**json.load(sys.stdin))
    try:
        did = replay(order)
    except (ValueError, ConnectionError) as error:
        print(error, file=sys.stderr)
        return 3
    print(json.dumps(asdict(did)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
