"""The servers, each pinned to its core, on loopback, ended when the `with` ends."""

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.engine.contestant import SERVER_CORE, Failed, absent, end_group, find, first_line, pinned

HOST = "127.0.0.1"
BODY_BYTES = 128
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; default_type text/plain;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen {host}:{port} reuseport backlog=1024; location / {{ return 200 "{body}"; }} }}
}}
"""
START_S = 10.0


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind((HOST, 0))
        return int(asked.getsockname()[1])


@contextmanager
def _started(argv: list[str], port: int) -> Iterator[int]:
    with tempfile.TemporaryFile() as complained:
        process = subprocess.Popen(
            pinned(SERVER_CORE, argv), stdin=subprocess.DEVNULL, stdout=complained, stderr=complained, start_new_session=True
        )
        try:
            until = time.monotonic() + START_S
            while True:
                try:
                    socket.create_connection((HOST, port), timeout=1).close()
                    break
                except OSError as error:
                    if process.poll() is not None or time.monotonic() > until:
                        complained.seek(0)
                        raise Failed(f"{argv[0]} does not listen: {complained.read().decode(errors='replace').strip()[-300:]}") from error
                    time.sleep(0.05)
            yield port
        finally:
            end_group(process)


def nginx_missing() -> str | None:
    return absent("nginx")


def nginx_version() -> str:
    return first_line([find("nginx") or "nginx", "-v"], r"nginx/(\S+)")


@contextmanager
def nginx() -> Iterator[int]:
    """Answers every GET with the same 128 bytes; one process, no log."""
    with tempfile.TemporaryDirectory(prefix="offspec-bench-") as folder:
        port, config = free_port(), Path(folder) / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, host=HOST, port=port, body="x" * BODY_BYTES))
        with _started([find("nginx") or "nginx", "-c", str(config), "-p", folder], port):
            yield port


def redis_missing() -> str | None:
    return absent("redis-server")


def redis_version() -> str:
    return first_line([find("redis-server") or "redis-server", "--version"], r"v=(\S+)")


@contextmanager
def redis() -> Iterator[int]:
    """Keeps nothing on disk."""
    with tempfile.TemporaryDirectory(prefix="offspec-bench-") as folder:
        port = free_port()
        argv = [find("redis-server") or "redis-server", "--bind", HOST, "--port", str(port), "--dir", folder]
        with _started([*argv, "--save", "", "--appendonly", "no"], port):
            yield port


def store(port: int, sizes: Iterable[tuple[str, int]]) -> None:
    """Sets keys to values of these sizes by RESP. Raises Failed if the server refuses one."""
    with socket.create_connection((HOST, port), timeout=START_S) as to, to.makefile("rb") as answers:
        for key, size in sizes:
            name = key.encode()
            to.sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(name), name, size, bytes(size)))
            said = answers.readline()
            if not said.startswith(b"+OK"):
                raise Failed(f"redis refused to store {key}: {said!r}")


@contextmanager
def echo() -> Iterator[int]:
    """offspec's own echo, which spins on its core. Raises Failed where the built-in targets have none."""
    argv = [sys.executable, "-m", "agent.targets", "echo", "--mode", "spin", "--port", "0", "--core", str(SERVER_CORE)]
    process = subprocess.Popen(
        pinned(SERVER_CORE, argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_S)
        words = os.read(process.stdout.fileno(), 200).decode().split() if ready else []
        if words[:1] != ["ready"]:
            raise Failed("agent.targets has no `echo`")
        yield int(words[1])
    finally:
        end_group(process)
        if process.stdout is not None:
            process.stdout.close()
