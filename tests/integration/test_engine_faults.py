"""Every driver against a server whose answers something goes wrong with: each request still comes to exactly one end."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.integration.engine_peers import engine, memcached_server, nginx_server, redis_server, requests
from tests.integration.odd_relay import FAULTS
from tests.integration.test_engine_accounting import assert_adds_up, replay

HERE = Path(__file__).parent
HARMLESS = {"well", "slow", "crumbled"}

Server = tuple[int, dict[str, Any], pa.Table]


@contextlib.contextmanager
def child(*arguments: str) -> Iterator[int]:
    """The port that a server of this folder prints."""
    with subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin and process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


@contextlib.contextmanager
def grpc_server() -> Iterator[int]:
    grpc = pytest.importorskip("grpc")
    say = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    handler = grpc.method_handlers_generic_handler("test.Echo", {"Say": say})
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None)


@contextlib.contextmanager
def serving(driver: str, folder: Path) -> Iterator[Server]:
    """A real server of a driver: its port, the engine's options, and what to ask it."""
    ops = {"redis": ["set", "get"], "memcached": ["set", "get"], "grpc": ["rpc"], "openai": ["completion"], "tcp": ["send"]}
    per_s = 300 if driver == "openai" else 2000
    table = requests(per_s // 7, per_s, ops.get(driver, ["GET"]), req_bytes=100)
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {"connections": 3, "pipeline": 1 if driver == "http" else 32}
        match driver:
            case "redis":
                port = stack.enter_context(redis_server())[0]
            case "memcached":
                port = stack.enter_context(memcached_server())
            case "http" | "http2":
                port = stack.enter_context(nginx_server(folder, 10_000, "http2" if driver == "http2" else ""))
                options["options"] = {"path": "/ok"}
            case "grpc":
                port = stack.enter_context(grpc_server())
                options["options"] = {"path": "/test.Echo/Say"}
            case "openai":
                port = stack.enter_context(child(str(HERE / "token_server.py"), "0", "0"))
                tokens = pa.array([4] * table.num_rows, pa.uint32())
                table = table.append_column("prompt_tokens", tokens).append_column("output_tokens", tokens)
                options |= {"pipeline": 1, "options": {"model": "m", "path": "/v1"}}
            case _:
                port = stack.enter_context(child("-c", ECHO))
        yield port, options, table


ECHO = """
import socket, socketserver, sys, threading
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while piece := self.request.recv(65536):
            self.request.sendall(piece)
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("driver", ["redis", "memcached", "http", "http2", "grpc", "openai", "tcp"])
def test_every_request_has_one_end_whatever_becomes_of_its_answer(driver: str, tmp_path: Path) -> None:
    with serving(driver, tmp_path) as (port, options, table):
        for behaviour in FAULTS:
            with child(str(HERE / "odd_relay.py"), str(port), behaviour) as relay:
                totals, intervals, _ = replay(table, driver=driver, port=relay, timeout_ms=100, **options)
            assert_adds_up(table, totals, intervals)
            if behaviour in HARMLESS:
                assert totals.errors == {}
            if behaviour in ("well", "crumbled"):
                assert totals.completed == table.num_rows
            if behaviour == "stalled":
                assert totals.timed_out > 0
                assert totals.errors == {}, "it is the engine that gives up the connection, not the server"
            if behaviour in ("closing", "reset"):
                assert totals.errors.get("closed", 0) + totals.errors.get("reset", 0) > 0


@pytest.mark.parametrize("behaviour", ["well", "lost", "doubled", "reordered", "garbage"])
def test_datagrams_end_once_whatever_becomes_of_them(behaviour: str) -> None:
    table = requests(300, 2000, ["send"], req_bytes=100)
    with child(str(HERE / "odd_datagrams.py"), behaviour) as port:
        totals, intervals, _ = replay(table, driver="udp", port=port, connections=3, timeout_ms=100)
    assert_adds_up(table, totals, intervals)
    assert totals.errors == {}
    assert totals.timed_out == {"lost": 100, "reordered": totals.timed_out}.get(behaviour, 0)


def test_answers_to_what_has_not_left_are_garbage_and_cost_no_request() -> None:
    # It reads no further, so that requests wait in full buffers, and answers them all the same.
    table = requests(600, 4000, ["set"], req_bytes=70_000)
    with child("-c", EAGER) as port:
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port, connections=2, timeout_ms=200)
        stopper = threading.Timer(10, run.stop)
        stopper.start()
        intervals: list[Any] = []
        totals = run.run(table, engine.monotonic_ns() + 10_000_000, intervals.extend)
        stopper.cancel()
    assert not totals.stopped, "a request was lost, and awaited for ever"
    assert_adds_up(table, totals, intervals)
    assert totals.completed > 0


EAGER = """
import socketserver, sys, threading, time
class Eager(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1000)
        time.sleep(0.03)
        self.request.sendall(b"+OK\\r\\n" * 3000)
        time.sleep(1)
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Eager)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
"""


def test_a_stall_of_the_server_is_not_held_against_the_gaps_between_requests() -> None:
    # One connection, one request at a time: after the stall all that waited leave one after the other.
    table = requests(3000, 3000, ["send"], req_bytes=64)
    with child("-c", STALLING) as port:
        _, _, seconds = replay(table, driver="tcp", port=port, connections=1, pipeline=1, timeout_ms=5000, connect=True)
    free = sum(engine.hdr_count(s.gap_sent) for s in seconds)
    assert free == sum(engine.hdr_count(s.gap_due) for s in seconds), "gaps are of the same pairs of requests"
    assert 0 < free < 2200, "those that the stall held back are left out"


STALLING = """
import socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seen = 0
    while piece := peer.recv(65536):
        seen += 1
        if seen == 300:
            time.sleep(0.4)
        peer.sendall(piece)
threading.Thread(target=serve, daemon=True).start()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""
