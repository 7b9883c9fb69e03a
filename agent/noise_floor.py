"""What the instrument itself adds: the engine against a server that does nothing but answer, on this machine, just before a run.

Whatever is measured below the floor's figures is not the system. The server is the built-in echo in a process of its own, off the
engine's cores where there are others. A driver in Python has a floor of its own, higher: there the same echo is asked by Python threads.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from agent import _engine, drivers
from traces.errors import OutOfReach

DEFAULT_RATE_PER_S = 10_000.0
MOST_RATE_PER_S = 50_000.0
MOST_RATE_BY_PYTHON_PER_S = 2_000.0
"""Threads of one interpreter answer some ten thousand requests a second between them: well below that."""
_BYTES = 64
_LEAD_NS = 20_000_000
_TIMEOUT_S = 10.0


class _PythonEcho:
    """A driver in Python that does the least that a driver can: writes a frame, and reads it back."""

    kind = ""

    def __init__(self, port: int) -> None:
        self._port = port

    def connect(self) -> "_EchoSession":
        return _EchoSession(socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_S))


class _EchoSession:
    _FRAME = bytes(_BYTES)

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, request: _engine.Request) -> str:
        self._connection.sendall(self._FRAME)
        left = _BYTES
        while left:
            got = len(self._connection.recv(left))
            if not got:
                raise ConnectionResetError("the echo closed")
            left -= got
        return "ok"

    def close(self) -> None:
        self._connection.close()


def measure(
    cores: Sequence[int],
    connections: int,
    rate_per_s: float = DEFAULT_RATE_PER_S,
    seconds: float = 1.0,
    *,
    by_python: bool = False,
) -> dict[str, Any]:
    """Poisson arrivals over TCP; slip, service and response in microseconds. Raises OutOfReach where no echo can be started.

    `by_python`: by the threads of a driver in Python.
    """
    rate = min(max(rate_per_s, 100.0), MOST_RATE_BY_PYTHON_PER_S if by_python else MOST_RATE_PER_S)
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
        figures = _replay(int(words[1]), cores, connections, rate, seconds, by_python)
    except OSError as error:
        raise OutOfReach(f"noise floor: {error}") from None
    finally:
        server.stdin.close()  # type: ignore[union-attr]
        try:
            server.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    return {
        "server": "echo",
        "by": "python" if by_python else "engine",
        "rate_per_s": rate,
        "server_cores": sorted(elsewhere),
        "engine_cores": list(cores),
        **figures,
    }


def _replay(port: int, cores: Sequence[int], connections: int, rate: float, seconds: float, by_python: bool) -> dict[str, Any]:
    count = max(100, int(rate * seconds))
    gaps = np.random.default_rng(1).exponential(1e9 / rate, count)
    rows = pa.table({"arrival_ns": np.cumsum(gaps).astype(np.int64), "req_bytes": pa.array(np.full(count, _BYTES))})
    driver = "python" if by_python else "tcp"
    engine = _engine.Replay(driver=driver, host="127.0.0.1", port=port, connections=connections, cores=list(cores))
    engine.connect()
    crew = drivers.Crew(_PythonEcho(port), engine) if by_python else None
    intervals: list[_engine.Interval] = []
    try:
        totals = engine.run(rows, time.monotonic_ns() + _LEAD_NS, intervals.extend)
    finally:
        if crew is not None:
            crew.join(_TIMEOUT_S)
    found: dict[str, Any] = {"requests": totals.scheduled, "completed": totals.completed}
    for kind in ("slip", "service", "response"):
        hdr = _engine.hdr_merge([getattr(i, kind) for i in intervals])
        p50, p99 = _engine.hdr_quantiles(hdr, [0.5, 0.99])
        found[f"{kind}_us"] = {"p50": p50 / 1000, "p99": p99 / 1000}
    return found
