"""What `redis-cli MONITOR` prints, by hand and as a real server says it."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.traces.rows import column, table
from tests.unit.traces.test_formats import refused, write
from traces.draws import key_of
from traces.formats.redis_commands import unescaped
from traces.source import open_trace

AT = "1339518083.10741{} [0 127.0.0.1:60866] "


def lines(*commands: str) -> str:
    return "OK\n" + "".join(AT.format(n % 10) + command + "\n" for n, command in enumerate(commands))


def test_reads_and_writes_have_keys_lengths_and_microseconds(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "m.txt", lines('"GET" "user:1"', '"set" "77" "hello"', '"del" "user:1"', '"INCR" "n"')))
    assert trace.meta.importer == "redis_monitor" and trace.meta.arrival_resolution_ns == 1000
    assert trace.meta.t0_unix_ns == 1_339_518_083_107_410_000
    assert column(trace, "arrival_ns") == [0, 1000, 2000, 3000] and column(trace, "op") == ["get", "set", "delete", "incr"]
    assert column(trace, "key_id") == [key_of("user:1"), 77, key_of("user:1"), key_of("n")]
    assert column(trace, "key_bytes") == [6, 2, 6, 1] and column(trace, "req_bytes") == [None, 5, None, None]
    assert column(trace, "client") == ["127.0.0.1:60866"] * 4 and column(trace, "resp_bytes") == [None] * 4


def test_options_of_set_say_lifetime_and_condition(tmp_path: Path) -> None:
    trace = open_trace(
        write(
            tmp_path / "m.txt",
            lines(
                '"SET" "a" "v" "EX" "10"',
                '"set" "a" "v" "px" "250" "nx"',
                '"SET" "a" "EX" "XX"',
                '"SETEX" "a" "3" "vvv"',
                '"PSETEX" "a" "4" "vv"',
                '"SETNX" "a" "v"',
                '"EXPIRE" "a" "60"',
                '"GETEX" "a" "PX" "9"',
                '"APPEND" "a" "xyz"',
            ),
        )
    )
    assert column(trace, "op") == ["set", "add", "replace", "set", "set", "add", "touch", "get", "append"]
    assert column(trace, "ttl_ms") == [10_000, 250, None, 3000, 4, None, 60_000, 9, None]
    assert column(trace, "req_bytes") == [1, 1, 2, 3, 2, 1, None, None, 3]


def test_commands_of_many_keys_are_a_request_for_each_in_their_order(tmp_path: Path) -> None:
    trace = open_trace(
        write(tmp_path / "m.txt", lines('"get" "x"', '"MGET" "a" "b"', '"mset" "a" "1" "b" "22"', '"DEL" "a" "b"', '"get" "y"'))
    )
    assert column(trace, "op") == ["get", "get", "get", "set", "set", "delete", "delete", "get"]
    ids = [key_of(key) for key in "xabababy"]
    assert column(trace, "key_id") == ids and column(trace, "seq") == list(range(8))
    assert column(trace, "arrival_ns") == [0, 1000, 1000, 2000, 2000, 3000, 3000, 4000]
    assert column(trace, "req_bytes") == [None, None, None, 1, 2, None, None, None]


def test_escapes_are_counted_as_the_bytes_that_they_stand_for(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "m.txt", lines(r'"SET" "a\"b" "\x00\xff\r\n\\x41"', r'"GET" "caf\xc3\xa9"', r'"GET" "\xff\xfe"')))
    assert column(trace, "key_id")[:2] == [key_of('a"b'), key_of("café")] and column(trace, "key_bytes") == [3, 5, 2]
    assert column(trace, "req_bytes") == [8, None, None]


@given(st.binary(max_size=40))
def test_an_escaped_argument_gives_back_its_bytes(data: bytes) -> None:
    named = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\"}
    printed = "".join(named.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in data)
    assert unescaped(printed) == data


def test_what_is_no_key_value_request_is_counted_or_refused(tmp_path: Path) -> None:
    text = (
        lines('"get" "a"', '"HGETALL" "h"', '"EVAL" "return 1" "0"')
        + '1339518084.000000 [3 lua] "get" "b"\n1339518085.000000 [3 [::1]:5] "get" "c"\n'
    )
    trace = open_trace(write(tmp_path / "m.txt", text))
    assert column(trace, "key_id") == [key_of("a"), key_of("c")] and column(trace, "tenant") == ["0", "3"]
    assert column(trace, "client")[1] == "[::1]:5"
    assert "of 5 lines left out: 1 called by scripts, 2 commands that are no key-value requests" in trace.meta.loss_notes
    assert "command GET: one of those called by scripts" in refused(tmp_path / "m.txt", other="refuse")
    assert "line 2: command HGETALL" in refused(write(tmp_path / "h.txt", lines('"HGETALL" "h"')), other="refuse")


def test_a_line_cut_short_is_named(tmp_path: Path) -> None:
    assert "line 3: '1339518083.107411" in refused(write(tmp_path / "m.txt", lines('"get" "a"', '"get" "b"')[:-3]))
    assert "no rows" in refused(write(tmp_path / "n.txt", lines('"PING"')))


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A redis-server of the test's own."""
    if not (server := shutil.which("redis-server")) or not shutil.which("redis-cli"):
        pytest.skip("redis-server and redis-cli are not on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    running = subprocess.Popen(
        [server, "--port", str(number), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", number), timeout=1):
                break
            time.sleep(0.05)
        yield number
    finally:
        running.kill()
        running.wait(10)


def test_a_real_server_is_recorded_as_it_was_driven(tmp_path: Path, port: int) -> None:
    cli = ["redis-cli", "-p", str(port)]
    recorded = tmp_path / "monitor.txt"
    value = b'\x00\x01"quoted"\\ \r\n\xff' * 3
    with recorded.open("wb") as out:
        monitor = subprocess.Popen(["stdbuf", "-oL", *cli, "MONITOR"] if shutil.which("stdbuf") else [*cli, "MONITOR"], stdout=out)
        try:
            for _ in range(100):
                if recorded.stat().st_size:
                    break
                time.sleep(0.05)
            for command in (["SET", "plain", "v" * 300, "EX", "5"], ["GET", "plain"], ["MGET", "plain", "a key"], ["HSET", "h", "f", "v"]):
                subprocess.run([*cli, *command], check=True, capture_output=True, timeout=10)
            subprocess.run([*cli, "-x", "SET", "bin\\"], input=value, check=True, capture_output=True, timeout=10)
            subprocess.run([*cli, "EVAL", "return redis.call('get', KEYS[1])", "1", "plain"], check=True, capture_output=True, timeout=10)
            for _ in range(100):
                if b"lua" in recorded.read_bytes():
                    break
                time.sleep(0.05)
        finally:
            monitor.kill()
            monitor.wait(10)
    trace = open_trace(recorded)
    assert trace.meta.importer == "redis_monitor"
    assert column(trace, "op") == ["set", "get", "get", "get", "set"] and column(trace, "ttl_ms")[0] == 5000
    assert column(trace, "key_id") == [key_of(key) for key in ("plain", "plain", "plain", "a key", "bin\\")]
    assert column(trace, "req_bytes") == [300, None, None, None, len(value)]
    assert abs((trace.meta.t0_unix_ns or 0) / 1e9 - time.time()) < 60 and table(trace).num_rows == 5
    assert "1 called by scripts" in trace.meta.loss_notes
