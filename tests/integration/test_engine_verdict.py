"""The generator's verdict on itself: disturbed it says so, a slow system is not its fault, and its floor and its capacity are true."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pyarrow as pa
import pytest

from agent import noise_floor
from agent.capacity import Probe, search
from agent.endpoint import Endpoint
from agent.replay import Live, Replay, ReplayOrder
from tests.integration import queueing
from tests.integration.engine_peers import engine
from tests.integration.test_engine_queues import FRAME_BYTES, SERVICE_NS, poisson, target

TWO_CORES = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="wants two cores: one for the server, one for the generator")

pytestmark = TWO_CORES
LOAD_CORE = max(os.sched_getaffinity(0))
ECHO = ("echo", "--frame-bytes", str(FRAME_BYTES))

SPINNER = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
try:
    os.setpriority(os.PRIO_PROCESS, 0, -20)
except PermissionError:
    pass
print("spins", flush=True)
while True:
    pass
"""


def arm(port: int, seconds_seen: list[Live], **order: Any) -> Replay:
    replay = Replay(ReplayOrder(Endpoint("tcp", "127.0.0.1", port), cores=(LOAD_CORE,), **order), on_live=seconds_seen.append)
    replay.arm()
    return replay


def rows(rate_per_s: float, seconds: float) -> pa.RecordBatchReader:
    arrivals = poisson(rate_per_s, seconds, seed=1)
    return pa.table({"arrival_ns": arrivals, "req_bytes": pa.array([FRAME_BYTES] * len(arrivals))}).to_reader()


def test_a_spinner_on_the_engines_core_makes_it_invalid_within_two_seconds() -> None:
    seen: list[Live] = []
    with target(*ECHO) as (port, _):
        replay = arm(port, seen, timeout_ms=2000)
        spinner = subprocess.Popen([sys.executable, "-c", SPINNER, str(LOAD_CORE)], stdout=subprocess.PIPE)
        try:
            assert spinner.stdout is not None
            spinner.stdout.readline()
            replay.run(rows(5000, 3), engine.monotonic_ns() + 50_000_000)
        finally:
            spinner.send_signal(signal.SIGKILL)
            spinner.wait()
    summary = replay.summary()
    assert summary["verdict"] == "invalid", summary["reasons"]
    assert "invalid" in {live.verdict for live in seen if live.second < 2}, [(live.second, live.reasons) for live in seen]


def test_a_server_made_ten_times_slower_is_saturated_and_the_measurement_stands() -> None:
    rate = 0.4 * 1e9 / SERVICE_NS
    outcomes = []
    for service_ns in (SERVICE_NS, 10 * SERVICE_NS):
        for _ in range(6):
            with target(*ECHO, "--service", f"constant:{service_ns}ns") as (port, _):
                replay = arm(port, [], timeout_ms=6000)
                replay.run(rows(rate, 5), engine.monotonic_ns() + 50_000_000)
            summary = replay.summary()
            if summary["verdict"] != "invalid":  # else the machine was disturbed, which it says
                break
        outcomes.append(summary)
    nominal, slow = outcomes
    assert not nominal["saturated"]
    assert slow["saturated"]
    if any("somebody shares it" in reason for reason in slow["reasons"]):
        pytest.skip(f"the machine was too busy: {slow['reasons']}")
    assert slow["verdict"] != "invalid", slow["reasons"]


def test_the_noise_floor_is_that_of_an_echo() -> None:
    floor = noise_floor.measure((LOAD_CORE,), connections=4, rate_per_s=2000, seconds=0.5)
    assert floor["completed"] == floor["requests"] == 1000
    assert 0 < floor["response_us"]["p50"] < 1000
    assert LOAD_CORE not in floor["server_cores"]


def test_a_driver_in_python_has_a_noise_floor_of_its_own_and_is_later() -> None:
    by_engine = noise_floor.measure((LOAD_CORE,), connections=4, rate_per_s=1000, seconds=0.5)
    by_python = noise_floor.measure((LOAD_CORE,), connections=4, rate_per_s=1000, seconds=0.5, by_python=True)
    assert by_python["completed"] == by_python["requests"] == 500
    assert (by_engine["by"], by_python["by"]) == ("engine", "python")
    assert by_python["slip_us"]["p50"] > by_engine["slip_us"]["p50"]


@pytest.mark.long
def test_capacity_is_the_knee_of_a_queue_whose_knee_is_known() -> None:
    """Within 5 % of the rate at which the p99 of an M/D/1 queue crosses the objective."""
    objective_s, seconds = 2e-3, 2
    found: list[float] = []
    for attempt in range(3):
        probes: list[tuple[float, float | None, str]] = []
        with target(*ECHO, "--service", f"constant:{SERVICE_NS}ns") as (port, told):

            def probe(rate: float, port: int = port, probes: list[tuple[float, float | None, str]] = probes) -> Probe:
                replay = arm(port, [], timeout_ms=5000)
                replay.run(rows(rate, seconds), engine.monotonic_ns() + 20_000_000)
                summary = replay.summary()
                p99_us = summary["response_us"]["p99"]
                probes.append((rate, p99_us, summary["verdict"]))
                return Probe(rate, p99_us is not None and p99_us < objective_s * 1e6, "")

            capacity = search(probe, 2000, 100_000)
        assert capacity.rate_per_s is not None
        found.append(capacity.rate_per_s / knee(told["drawn_mean_ns"] / 1e9 + 5e-6, objective_s))
        if abs(found[-1] - 1) < 0.05:
            return
        time.sleep(attempt)
    pytest.fail(f"capacity over the true knee: {found}")


def knee(service_s: float, objective_s: float) -> float:
    low, high = 0.1 / service_s, 0.999 / service_s
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if queueing.md1_response_quantile(middle, service_s, 0.99) < objective_s else (low, middle)
    return low
