"""The engine against servers that behave in every way: what was scheduled is what ended, and the stamps tell the truth."""

import base64
import math
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import _engine
from controller.analysis import hdr

Behave = Callable[[socket.socket, bytes], bool]
"""Answers one read on a connection; False closes it."""

ANSWERS = {
    "redis": b"$-1\r\n",
    "http": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
}


def requests_in(driver: str, data: bytes) -> int:
    """Requests whose beginning lies in these bytes: enough for a server that answers by count."""
    return data.count(b"*2\r\n") if driver == "redis" else data.count(b"HTTP/1.1\r\n")


@contextmanager
def server(behave: Behave) -> Iterator[int]:
    """A server of threads; every connection is given to `behave` until it says no more."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve(link: socket.socket) -> None:
        link.settimeout(0.1)
        with link:
            while not ended.is_set():
                try:
                    data = link.recv(65536)
                    if not data or not behave(link, data):
                        return
                except TimeoutError:
                    continue
                except OSError:
                    return

    def accept() -> None:
        while not ended.is_set():
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(link,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        ended.set()
        listener.close()


def rows(n: int, seconds: float, seed: int = 1) -> pa.Table:
    arrivals = np.sort(np.random.default_rng(seed).integers(0, int(seconds * 1e9), n))
    return pa.table(
        {
            "arrival_ns": pa.array(arrivals, pa.int64()),
            "op": pa.array(["get"] * n).dictionary_encode(),
            "key_id": pa.array(np.arange(n) % 50, pa.uint64()),
            "req_bytes": pa.array([32] * n, pa.int64()),
        }
    )


def ends(totals: _engine.Totals) -> int:
    return totals.completed + sum(totals.errors.values()) + totals.timed_out + totals.dropped + totals.unsent


def behaviour(kind: str, driver: str) -> Behave:
    def echo(data: bytes) -> bytes:
        return data if driver == "tcp" else ANSWERS[driver] * requests_in(driver, data)

    def behave(link: socket.socket, data: bytes) -> bool:
        match kind:
            case "slow":
                time.sleep(0.05)
                link.sendall(echo(data))
            case "stalled":
                return True
            case "closing":
                return False
            case "half":
                link.sendall(echo(data)[:3])
                return False
            case "reset":
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                return False
            case "garbage":
                link.sendall(b"\x00\xffnonsense\r\n" * 3)
            case _:
                link.sendall(echo(data))
        return True

    return behave


@settings(max_examples=24, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["redis", "http", "tcp"]),
    st.sampled_from(["good", "slow", "stalled", "closing", "half", "reset", "garbage"]),
    st.integers(1, 300),
    st.integers(1, 6),
    st.integers(1, 4),
)
def test_outcomes_sum_to_the_schedule_whatever_the_server_does(driver: str, kind: str, n: int, connections: int, pipeline: int) -> None:
    with server(behaviour(kind, driver)) as port:
        engine = _engine.Replay(driver=driver, host="127.0.0.1", port=port, connections=connections, timeout_ms=150, pipeline=pipeline)
        intervals: list[_engine.Interval] = []
        totals = engine.run(rows(n, 0.2).to_reader(), time.monotonic_ns(), intervals.extend)
    assert totals.scheduled == n == ends(totals)
    assert sum(i.scheduled for i in intervals) == n
    for i in intervals:
        assert i.scheduled == i.completed + sum(i.errors.values()) + i.timed_out + i.dropped + i.unsent
        assert _engine.hdr_count(i.response) == i.completed
    if kind == "good":
        assert totals.completed == n
    if kind in ("stalled", "garbage", "closing"):
        assert totals.completed == 0 or driver == "tcp"


def test_a_server_that_refuses_is_counted_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    engine = _engine.Replay(driver="redis", host="127.0.0.1", port=port, timeout_ms=200)
    totals = engine.run(rows(50, 0.1).to_reader(), time.monotonic_ns())
    assert (totals.scheduled, ends(totals), totals.errors.get("connect")) == (50, 50, 50)
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{port}: Connection refused"):
        engine.connect(300)


def test_a_stop_ends_soon_and_counts_the_rest_as_unsent() -> None:
    with server(behaviour("good", "redis")) as port:
        engine = _engine.Replay(driver="redis", host="127.0.0.1", port=port)
        threading.Timer(0.3, engine.stop).start()
        begun = time.monotonic()
        totals = engine.run(rows(3000, 30.0).to_reader(), time.monotonic_ns())
    assert time.monotonic() - begun < 10
    assert totals.stopped
    assert totals.scheduled == 3000 == ends(totals)
    assert totals.unsent > 2500


def test_several_threads_count_as_one() -> None:
    with server(behaviour("good", "redis")) as port:
        engine = _engine.Replay(driver="redis", host="127.0.0.1", port=port, cores=[0, 0], connections=4)
        intervals: list[_engine.Interval] = []
        totals = engine.run(rows(500, 0.5).to_reader(), time.monotonic_ns(), intervals.extend)
    assert totals.completed == 500 == sum(i.completed for i in intervals)
    assert len({(i.second, i.op) for i in intervals}) == len(intervals)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"arrival_ns": pa.array([2, 1], pa.int64())}), "arrival_ns: row 1 .1. lies before"),
        (pa.table({"arrival_ns": pa.array([0, None], pa.int64())}), "row 1"),
        (pa.table({"arrival_ns": pa.array([0.5])}), "expected int64"),
        (pa.table({"time": pa.array([1])}), "arrival_ns is missing"),
    ],
)
def test_rows_that_cannot_be_replayed_are_named(table: pa.Table, words: str) -> None:
    with server(behaviour("good", "redis")) as port, pytest.raises(ValueError, match=words):
        _engine.Replay(driver="redis", host="127.0.0.1", port=port).run(table.to_reader(), time.monotonic_ns())


def test_a_stalled_second_gives_the_analytic_response_while_service_hides_it() -> None:
    """A server stopped for d = 1.0 s in T = 10 s at 1 k/s: the response's quantile q is d - (1 - q) T, so p99 is 0.9 s. With one
    request at a time on one connection the others wait here, unsent: service sees the stall once. That wait is the system's
    fault, so slip must not show it either."""
    begun = time.monotonic()
    stopped: list[float] = []

    def behave(link: socket.socket, data: bytes) -> bool:
        if not stopped and time.monotonic() - begun >= 5.0:
            at = time.monotonic()
            time.sleep(1.0)
            stopped.append(time.monotonic() - at)
        link.sendall(ANSWERS["redis"])
        return True

    n = 10_000
    table = pa.table(
        {
            "arrival_ns": pa.array(np.arange(n) * 1_000_000, pa.int64()),
            "op": pa.array(["get"] * n).dictionary_encode(),
            "key_id": pa.array(np.arange(n), pa.uint64()),
        }
    )
    with server(behave) as port:
        engine = _engine.Replay(driver="redis", host="127.0.0.1", port=port, connections=1, pipeline=1, timeout_ms=5000, cores=[1])
        intervals: list[_engine.Interval] = []
        begun = time.monotonic()
        totals = engine.run(table.to_reader(), time.monotonic_ns(), intervals.extend)
    assert totals.completed == n
    response, service, slip = (_engine.hdr_merge([getattr(i, k) for i in intervals]) for k in ("response", "service", "slip"))
    p99 = _engine.hdr_quantiles(response, [0.99])[0] / 1e9
    assert p99 == pytest.approx(stopped[0] - 0.1, rel=0.1)
    assert _engine.hdr_quantiles(service, [0.99])[0] < 0.1e9
    assert _engine.hdr_quantiles(service, [1.0])[0] > 0.9e9
    assert _engine.hdr_quantiles(slip, [0.99])[0] < 0.1e9


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 10**11), min_size=1, max_size=400), st.lists(st.integers(1, 10**11), max_size=50))
def test_histograms_merge_exactly_and_are_read_alike_by_others(values: list[int], more: list[int]) -> None:
    """Engine, analysis and HdrHistogram's own Python port agree; a quantile is the order statistic within three digits."""
    parts = [_v2(values), _v2(more)]
    merged = _engine.hdr_merge(parts)
    ours = hdr.decode(parts[0]) + hdr.decode(parts[1])
    theirs = HdrHistogram.decode(_compressed(merged))
    everything = sorted(values + more)
    assert _engine.hdr_count(merged) == ours.total == theirs.get_total_count() == len(everything)
    for q in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = everything[math.ceil(q * len(everything) - 1e-9) - 1]
        value = ours.quantile(q)
        assert value == _engine.hdr_quantiles(merged, [q])[0]
        assert exact <= value <= exact * 1.001 + 1
    assert theirs.get_max_value() == ours.quantile(1.0)


def _v2(numbers: list[int]) -> bytes:
    """The uncompressed form out of the other implementation, which only writes the compressed one."""
    histogram = HdrHistogram(1, 120_000_000_000, 3)
    for number in numbers:
        histogram.record_value(number)
    return zlib.decompress(base64.b64decode(histogram.encode())[8:])


def _compressed(raw: bytes) -> bytes:
    body = zlib.compress(raw)
    return base64.b64encode(struct.pack(">ii", 0x1C849304, len(body)) + body)
