"""What the engine's tests replay, and against whom: request tables, odd servers, real servers."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
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
def _process(command: Sequence[str], port: int, end: signal.Signals = signal.SIGTERM) -> Iterator[subprocess.Popen[bytes]]:
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
        process.send_signal(end)
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


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost and 127.0.0.1 that signs itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    made, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


@contextlib.contextmanager
def memcached_server() -> Iterator[int]:
    binary = shutil.which("memcached")
    if binary is None:
        pytest.skip("memcached is not installed")
    port = free_port()
    with _process([binary, "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-U", "0"], port):
        yield port


@contextlib.contextmanager
def redis_cluster(folder: Path, size: int = 3) -> Iterator[list[int]]:
    """Ports of so many masters that share the slots evenly."""
    server, client = shutil.which("redis-server"), shutil.which("redis-cli")
    if server is None or client is None:
        pytest.skip("redis-server or redis-cli is not installed")
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(size):
            # The cluster's bus takes the port above by 10000.
            port = next(p for p in iter(free_port, None) if p < 55_000)
            home = folder / str(port)
            home.mkdir()
            command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes", "--dir", str(home)]
            stack.enter_context(_process(command, port))
            ports.append(port)
        subprocess.run(
            [client, "--cluster", "create", *(f"127.0.0.1:{p}" for p in ports), "--cluster-yes"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        yield ports


@contextlib.contextmanager
def postgresql_server(folder: Path) -> Iterator[str]:
    """The URL of a server of our own, over TCP."""
    binary, initdb = shutil.which("postgres"), shutil.which("initdb")
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        binary, initdb = binary or shutil.which("postgres", path=place), initdb or shutil.which("initdb", path=place)
    if binary is None or initdb is None:
        pytest.skip("postgresql is not installed")
    port, data = free_port(), folder / "data"
    as_user: list[str] = []
    if os.geteuid() == 0:  # which PostgreSQL refuses to be
        owner = next((u for u in ("postgres", "nobody") if _exists(u)), None)
        if owner is None or shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no other user to run it as")
        data = Path(tempfile.mkdtemp(prefix="offspec-postgres-"))
        shutil.chown(data, owner)
        as_user = ["setpriv", f"--reuid={owner}", f"--regid={pwd.getpwnam(owner).pw_gid}", "--clear-groups"]
    try:
        subprocess.run([*as_user, initdb, "-D", str(data), "-A", "trust", "-U", "offspec", "-N"], check=True, capture_output=True)
        command = [*as_user, binary, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
        with _process(command, port, signal.SIGINT):  # which does not wait for clients to go
            url = f"postgresql://offspec@127.0.0.1:{port}/postgres"
            psycopg = pytest.importorskip("psycopg")
            deadline = time.monotonic() + LISTENS_WITHIN_S
            while True:
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(url).close()
                    break
                assert time.monotonic() < deadline, "PostgreSQL does not become ready"
                time.sleep(0.05)
            yield url
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi; keepalive_requests {keepalive};
  large_client_header_buffers 4 64k;
  server {{ listen 127.0.0.1:{port} {listen}; {tls} location = /ok {{ return 200 "fine"; }} location / {{ return 404; }} }}
}}
"""


@contextlib.contextmanager
def nginx_server(folder: Path, keepalive: int, listen: str = "", tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Answers /ok with 200 and the rest with 404; parts from a connection after `keepalive` requests. `listen`: http2, ssl."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    config = folder / "nginx.conf"
    lines = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
    config.write_text(NGINX.format(folder=folder, port=port, keepalive=keepalive, listen=listen, tls=lines))
    with _process([binary, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)], port):
        yield port
