"""What the engine measures is what was: a stall of known length, a known delay, real servers' own counts."""

import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.integration.engine_peers import (
    ended,
    engine,
    nginx_server,
    odd_process,
    odd_server,
    redis_server,
    requests,
)

SECOND_NS = 1_000_000_000
QUANTILE = 0.99


def replay(table: pa.Table, **options: Any) -> tuple[Any, list[Any], list[Any]]:
    run = engine.Replay(host="127.0.0.1", **options)
    run.connect()
    intervals: list[Any] = []
    seconds: list[Any] = []
    totals = run.run(table, engine.monotonic_ns() + 20_000_000, intervals.extend, seconds.append)
    return totals, intervals, seconds


def quantile(intervals: list[Any], which: str, q: float = QUANTILE) -> float:
    """Seconds, over the whole run."""
    blob = engine.hdr_merge([getattr(i, which) for i in intervals])
    return float(engine.hdr_quantiles(blob, [q])[0]) / SECOND_NS


def stall(process: subprocess.Popen[str], after_s: float, for_s: float, took_s: list[float]) -> None:
    time.sleep(after_s)
    began = time.monotonic()
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(for_s)
    finally:
        process.send_signal(signal.SIGCONT)
    took_s.append(time.monotonic() - began)


@pytest.mark.parametrize(
    ("run_s", "stall_s", "connections", "pipeline"),
    [(10, 1.0, 1, 1), (5, 0.5, 8, 1024)],
    ids=["waiting", "pipelined"],
)
def test_a_stall_has_the_response_p99_that_arithmetic_gives(run_s: int, stall_s: float, connections: int, pipeline: int) -> None:
    took_s: list[float] = []
    with odd_process("tcp", "well") as (port, process):
        staller = threading.Thread(target=stall, args=(process, run_s / 3, stall_s, took_s))
        staller.start()
        totals, intervals, seconds = replay(
            requests(1000 * run_s, 1000),
            driver="tcp",
            port=port,
            connections=connections,
            pipeline=pipeline,
            timeout_ms=5000,
        )
        staller.join()
    assert totals.completed == 1000 * run_s
    # A request due x into the stall waits stall - x; a share (1 - q) of the run waits longer than this.
    expected_s = took_s[0] - (1 - QUANTILE) * run_s
    assert quantile(intervals, "response") == pytest.approx(expected_s, rel=0.05)
    assert quantile(intervals, "slip") < 0.1 * expected_s, "waiting for the system was taken for our own lateness"
    if pipeline == 1:
        # What waits has not been sent: service hides the stall from all but one, and the backlog shows it.
        assert quantile(intervals, "service") < 0.1 * expected_s
        assert quantile(intervals, "service", 1.0) == pytest.approx(took_s[0], rel=0.05)
        assert max(s.backlog for s in seconds) > 200
    else:
        assert quantile(intervals, "service") == pytest.approx(expected_s, rel=0.05)


def test_a_server_of_known_delay_is_measured_no_faster() -> None:
    with odd_server("http", "slow") as port:
        totals, intervals, _ = replay(requests(100, 200, ["GET"]), driver="http", port=port, connections=8, pipeline=1)
    assert totals.completed == 100
    assert quantile(intervals, "service", 0.0) >= 0.005
    assert quantile(intervals, "service", 0.5) < 0.05


def redis_command(port: int, *words: str) -> str:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in words))
        return peer.recv(65536).decode()


def test_redis_counts_what_the_engine_says_it_sent() -> None:
    keys = [1, 2, 1, 3, 2, 1, 1, 1, 9]
    ops = ["set", "set", "get", "get", "delete", "incr", "touch", "append", "incr"]
    table = pa.table(
        {
            "arrival_ns": pa.array(np.arange(len(ops)) * 1_000_000),
            "op": ops,
            "key_id": pa.array(keys, pa.uint64()),
            "key_bytes": pa.array([8] * len(ops), pa.uint32()),
            "req_bytes": pa.array([100] * len(ops)),
            "ttl_ms": pa.array([60_000, None] + [None] * (len(ops) - 2), pa.int64()),
        }
    )
    with redis_server() as (port, _):
        totals, intervals, _ = replay(table, driver="redis", port=port, connections=1)
        figures = {i.op: i for i in intervals}
        assert (totals.completed, totals.errors) == (8, {"server": 1}), "INCR of a text is an error of the server"
        assert (figures["get"].completed, figures["get"].misses) == (2, 1)
        assert figures["incr"].errors == {"server": 1}
        assert redis_command(port, "STRLEN", engine.key_text(1, 8)) == ":200\r\n"
        assert redis_command(port, "EXISTS", engine.key_text(2, 8)) == ":0\r\n"
        assert redis_command(port, "GET", engine.key_text(9, 8)) == "$1\r\n1\r\n"
        assert 0 < int(redis_command(port, "PTTL", engine.key_text(1, 8))[1:]) <= 60_000


def test_redis_at_twenty_thousand_a_second_loses_nothing() -> None:
    table = requests(20_000, 20_000, ["set", "get"], req_bytes=200)
    with redis_server() as (port, _):
        totals, intervals, seconds = replay(table, driver="redis", port=port)
        calls = redis_command(port, "INFO", "commandstats")
    assert totals.completed == 20_000 == ended(totals)
    assert "cmdstat_get:calls=10000," in calls
    assert "cmdstat_set:calls=10000," in calls
    assert sum(i.bytes_received for i in intervals if i.op == "set") == 10_000 * len("+OK\r\n")
    assert seconds[0].cpu_ns > 0


def test_nginx_answers_each_target_though_it_parts_from_connections(tmp_path: Path) -> None:
    targets = ["/ok", "/ok", "/ok", "/none at all"]
    table = requests(2000, 4000, ["GET"])
    table = table.append_column("target", pa.array([targets[i % 4] for i in range(2000)]).dictionary_encode())
    with nginx_server(tmp_path, keepalive=50) as port:
        totals, _, _ = replay(table, driver="http", port=port, connections=4)
    assert (totals.completed, totals.errors) == (1500, {"status_4xx": 500})
    assert totals.sent == 2000
