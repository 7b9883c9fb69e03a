"""What the engine's tests replay, and against whom: request tables, odd servers, real servers."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

engine: Any = pytest.importorskip("agent._engine", reason="the native module is not built: make setup")

ODD_SERVER = Path(__file__).with_name("odd_server.py")
LISTENS_WITHIN_S = 10.0


def requests(count: int, per_s: float, ops: Sequence[str] = ("get",), req_bytes: int = 32) -> pa.Table:
    """`count` requests at even distances, ops in turn, a thousand keys."""
    index = np.arange(count)
    return pa.table(
        {
            "arrival_ns": (index * 1e9 / per_s).astype(np.int64),
            "op": pa.array([ops[i % len(ops)] for i in range(count)], pa.string()).dictionary_encode(),
            "key_id": pa.array(index % 1000, pa.uint64()),
            "key_bytes": pa.array(np.full(count, 16), pa.uint32()),
            "req_bytes": pa.array(np.full(count, req_bytes), pa.int64()),
        }
    )


def ended(figures: Any) -> int:
    """Requests of an Interval or Totals that have come to an end."""
    errors: int = sum(figures.errors.values())
    return int(figures.completed + errors + figures.timed_out + figures.dropped + figures.unsent)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def odd_process(protocol: str, behaviour: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    command = [sys.executable, str(ODD_SERVER), protocol, behaviour]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.stdin.close()


@contextlib.contextmanager
def odd_server(protocol: str, behaviour: str) -> Iterator[int]:
    """The port of an odd server; for "refusing" one on which nobody listens."""
    if behaviour == "refusing":
        yield free_port()
        return
    with odd_process(protocol, behaviour) as (port, _):
        yield port


@contextlib.contextmanager
def _process(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + LISTENS_WITHIN_S
        while True:
            with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{command[0]} does not listen on {port}"
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(LISTENS_WITHIN_S)


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with _process(command, port) as process:
        yield port, process


NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi; keepalive_requests {keepalive};
  server {{ listen 127.0.0.1:{port}; location = /ok {{ return 200 "fine"; }} location / {{ return 404; }} }}
}}
"""


@contextlib.contextmanager
def nginx_server(folder: Path, keepalive: int) -> Iterator[int]:
    """Answers /ok with 200 and the rest with 404; parts from a connection after `keepalive` requests."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, keepalive=keepalive))
    with _process([binary, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)], port):
        yield port
