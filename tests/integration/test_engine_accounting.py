"""Every request comes to exactly one end, in the second and op in which it was due."""

import os
import signal
import socket
import threading
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.engine_peers import ended, engine, odd_server, requests

BEHAVIOURS = (
    "well", "slow", "stalled", "deaf", "closing", "garbage", "reset", "halved", "failing", "refusing",
)  # fmt: skip
OPS = {"redis": ("get", "set", "delete"), "http": ("GET", "POST"), "tcp": ("send",)}
SECOND_NS = 1_000_000_000


def expected_seconds(table: pa.Table) -> Counter[tuple[int, str]]:
    """Requests by due second and op: what the figures must add up to."""
    rows = zip(table["arrival_ns"].to_pylist(), table["op"].to_pylist(), strict=True)
    return Counter((arrival // SECOND_NS, op) for arrival, op in rows)


def replay(table: pa.Table, lead_ns: int = 10_000_000, connect: bool = False, **options: Any) -> tuple[Any, list[Any], list[Any]]:
    run = engine.Replay(host="127.0.0.1", **options)
    if connect:
        run.connect()
    intervals: list[Any] = []
    seconds: list[Any] = []
    totals = run.run(table, engine.monotonic_ns() + lead_ns, intervals.extend, seconds.append)
    return totals, intervals, seconds


def assert_adds_up(table: pa.Table, totals: Any, intervals: list[Any]) -> None:
    assert totals.scheduled == table.num_rows == ended(totals)
    assert {(i.second, i.op): i.scheduled for i in intervals} == expected_seconds(table)
    assert [i.second for i in intervals] == sorted(i.second for i in intervals)
    for interval in intervals:
        assert interval.scheduled == ended(interval)
        assert engine.hdr_count(interval.slip) == interval.sent
        assert engine.hdr_count(interval.service) == interval.completed
        assert engine.hdr_count(interval.response) == interval.completed
    for count in ("sent", "completed", "misses", "timed_out", "dropped", "unsent"):
        assert getattr(totals, count) == sum(getattr(i, count) for i in intervals)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("protocol", ["redis", "http", "tcp"])
def test_outcomes_sum_to_the_schedule_whatever_the_server_does(protocol: str, behaviour: str) -> None:
    table = requests(1200, 4000, OPS[protocol])
    with odd_server(protocol, behaviour) as port:
        totals, intervals, _ = replay(table, driver=protocol, port=port, connections=3, timeout_ms=80)
    assert_adds_up(table, totals, intervals)
    faults = {
        "stalled": totals.timed_out,
        "deaf": totals.timed_out,
        "closing": totals.errors.get("closed", 0) + totals.errors.get("reset", 0),
        "reset": totals.errors.get("reset", 0),
        "refusing": totals.errors.get("connect", 0),
        "well": totals.completed,
    }
    assert faults.get(behaviour, 1) > 0
    if behaviour == "refusing":
        assert totals.errors == {"connect": 1200}
        assert totals.sent == 0
    if behaviour == "failing" and protocol != "tcp":
        assert totals.errors.keys() == {"server" if protocol == "redis" else "status_5xx"}


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    protocol=st.sampled_from(["redis", "http", "tcp"]),
    behaviour=st.sampled_from(BEHAVIOURS),
    count=st.integers(1, 250),
    per_s=st.sampled_from([500.0, 5000.0, 1e6]),
    connections=st.integers(1, 5),
    pipeline=st.sampled_from([1, 2, 1024]),
    window=st.sampled_from([0, 0, 1, 7]),
    late=st.sampled_from(["send", "drop"]),
    req_bytes=st.sampled_from([0, 1, 100, 70_000]),
)
def test_outcomes_sum_to_the_schedule_for_any_shape_of_load(
    protocol: str, behaviour: str, count: int, per_s: float, window: int, req_bytes: int, **options: Any
) -> None:
    table = requests(count, per_s, OPS[protocol], req_bytes)
    with odd_server(protocol, behaviour) as port:
        totals, intervals, _ = replay(table, driver=protocol, port=port, timeout_ms=20, late_after_us=500, window=window, **options)
    assert totals.scheduled == count == ended(totals)
    assert sum(i.scheduled for i in intervals) == count
    if not window:
        assert_adds_up(table, totals, intervals)


def test_two_threads_add_up_and_merge_their_seconds() -> None:
    table = requests(4000, 3000, OPS["redis"])
    with odd_server("redis", "well") as port:
        totals, intervals, seconds = replay(table, driver="redis", port=port, connections=4, cores=[0, 1])
    assert_adds_up(table, totals, intervals)
    assert totals.completed == 4000
    assert len({i.second for i in intervals}) == 2
    assert len({(s.second, s.core) for s in seconds}) == len(seconds) >= 2


def test_a_thread_without_rows_does_not_hold_back_the_figures() -> None:
    table = requests(5000, 2000)
    table = table.set_column(2, "key_id", pa.array([7] * 5000, pa.uint64()))
    seen_ns: dict[int, int] = {}
    with odd_server("redis", "well") as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port, connections=2, cores=[0, 1])
        t0 = engine.monotonic_ns() + 10_000_000
        run.run(table, t0, lambda some: seen_ns.setdefault(some[0].second, engine.monotonic_ns() - t0))
    assert seen_ns[0] < 2.4 * SECOND_NS, "second 0 was told only at the end"


def test_a_parting_http_server_costs_no_request() -> None:
    table = requests(600, 3000, ["GET"])
    with odd_server("http", "parting") as port:
        totals, intervals, _ = replay(table, driver="http", port=port, connections=4)
    assert_adds_up(table, totals, intervals)
    assert totals.completed == totals.sent == 600


def test_stop_ends_soon_and_counts_the_rest_unsent() -> None:
    table = requests(200_000, 2000)
    with odd_server("redis", "well") as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port)
        intervals: list[Any] = []
        stopper = threading.Timer(0.3, run.stop)
        t0 = engine.monotonic_ns()
        stopper.start()
        totals = run.run(table, t0, intervals.extend)
        took_ns = engine.monotonic_ns() - t0
    assert totals.stopped
    assert_adds_up(table, totals, intervals)
    assert totals.unsent > 190_000
    assert totals.last_due_ns == t0 + table["arrival_ns"][-1].as_py()
    assert took_ns < 2 * SECOND_NS


def test_stop_tells_what_had_left_from_what_had_not() -> None:
    table = requests(2000, 10_000)
    with odd_server("redis", "stalled") as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port, connections=2, pipeline=5, timeout_ms=5000)
        threading.Timer(0.1, run.stop).start()
        totals = run.run(table, engine.monotonic_ns())
    assert totals.errors == {"stopped": 10}
    assert (totals.sent, totals.unsent) == (10, 1990)


def test_a_start_in_the_past_makes_everything_late_and_loses_nothing() -> None:
    table = requests(500, 1000)
    with odd_server("redis", "well") as port:
        totals, intervals, _ = replay(table, lead_ns=-SECOND_NS, connect=True, driver="redis", port=port, timeout_ms=3000)
    assert_adds_up(table, totals, intervals)
    assert totals.completed == 500
    assert engine.hdr_quantiles(intervals[0].slip, [0.0])[0] > 0.4 * SECOND_NS


@pytest.mark.parametrize(("late", "dropped"), [("drop", 500), ("abort", 1)])
def test_late_policies_count_what_they_leave_out(late: str, dropped: int) -> None:
    table = requests(500, 1000)
    with odd_server("redis", "well") as port:
        totals, intervals, _ = replay(table, lead_ns=-SECOND_NS, driver="redis", port=port, late=late, late_after_us=1000)
    assert_adds_up(table, totals, intervals)
    assert (totals.dropped, totals.unsent, totals.sent) == (dropped, 500 - dropped, 0)
    assert totals.stopped == (late == "abort")


def test_a_closed_window_ignores_arrival_and_keeps_to_its_width() -> None:
    table = requests(3000, 1.0)
    with odd_server("redis", "well") as port:
        totals, intervals, seconds = replay(table, driver="redis", port=port, connections=4, window=6)
    assert (totals.completed, totals.scheduled) == (3000, 3000)
    assert sum(i.completed for i in intervals) == 3000
    assert max(s.inflight_max for s in seconds) <= 6


def test_ops_given_split_the_figures_and_the_rest_is_other() -> None:
    table = requests(300, 5000, ["get", "set", "delete"])
    with odd_server("redis", "well") as port:
        _, intervals, _ = replay(table, driver="redis", port=port, ops=["set"])
    assert {i.op: i.scheduled for i in intervals} == {"set": 100, "other": 200}


def test_a_callback_that_raises_ends_the_run_with_its_error() -> None:
    def refuse(_: Any) -> None:
        raise LookupError("not wanted")

    with odd_server("redis", "well") as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port)
        with pytest.raises(LookupError, match="not wanted"):
            run.run(requests(20_000, 2000), engine.monotonic_ns(), refuse)


def test_ctrl_c_ends_a_run_without_callbacks() -> None:
    # A suite that a shell started in the background was told to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with odd_server("redis", "well") as port:
            run = engine.Replay(driver="redis", host="127.0.0.1", port=port)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                run.run(requests(20_000, 2000), engine.monotonic_ns())
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_closed_window_opens_at_t0() -> None:
    lead_ns = 150_000_000
    with odd_server("redis", "well") as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port, window=2)
        t0 = engine.monotonic_ns() + lead_ns
        totals = run.run(requests(50, 1.0), t0)
    assert t0 <= totals.first_send_ns < t0 + SECOND_NS


def test_a_server_that_comes_up_late_is_found() -> None:
    with odd_server("redis", "refusing") as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port, connections=2)
        with socket.socket() as late:
            late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            late.bind(("127.0.0.1", port))
            threading.Timer(0.3, late.listen).start()
            totals = run.run(requests(2000, 1000), engine.monotonic_ns())
    assert totals.errors["connect"] > 200
    assert totals.sent > 0
    assert ended(totals) == 2000


def test_nobody_listening_is_told_at_connect_with_host_port_and_reason() -> None:
    with odd_server("redis", "refusing") as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port)
        with pytest.raises(ConnectionError, match=rf"127\.0\.0\.1:{port}: Connection refused"):
            run.connect()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"op": ["get"]}, "column arrival_ns is missing"),
        ({"arrival_ns": [1.5]}, "column arrival_ns: type Float64"),
        ({"arrival_ns": [0, 5, 4]}, r"arrival_ns: row 2 \(4\) lies before"),
        ({"arrival_ns": [0, None]}, "arrival_ns: row 1 is null"),
        ({"arrival_ns": [0], "op": [3]}, "column op: type Int64"),
        ({"arrival_ns": [0], "key_id": ["x"]}, "column key_id: type Utf8"),
        ({"arrival_ns": [0, 1], "req_bytes": [1, 1 << 40]}, "column req_bytes: row 1"),
    ],
)
def test_a_stream_that_cannot_be_replayed_names_column_and_row(columns: dict[str, list[Any]], message: str) -> None:
    with odd_server("redis", "well") as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port)
        with pytest.raises(ValueError, match=message):
            run.run(pa.table(columns), engine.monotonic_ns())


def test_an_empty_stream_is_a_replay_of_nothing() -> None:
    with odd_server("redis", "well") as port:
        totals, intervals, _ = replay(requests(0, 1.0), driver="redis", port=port)
    assert (totals.scheduled, totals.first_send_ns, intervals) == (0, 0, [])
