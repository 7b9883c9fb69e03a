"""What stands between load and system: connections and datagrams pass whole, late by the dose, and the dose is what a client sees."""

import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.detour import Detour, listening_host
from agent.undo import read_open_steps
from agent.violations import Context, Rerouting, registry
from agent.violations.net_loss import accords
from tests.integration.echo_system import System, before, round_trips_s
from traces.errors import PreflightFailed


@pytest.fixture
def system() -> Iterator[System]:
    made = System()
    yield made
    made.close()


@pytest.fixture
def context(tmp_path: Path, system: System) -> Iterator[Context]:
    with before(system, tmp_path) as made:
        yield made


def test_a_client_sees_the_latency_that_was_asked_for(context: Context, system: System) -> None:
    applied = registry()["net-latency"].apply(20, {}, context)
    assert isinstance(applied, Rerouting)
    added = statistics.median(round_trips_s(applied.port, 20)) - statistics.median(round_trips_s(system.port, 20))
    assert added == pytest.approx(0.020, rel=0.10)
    given = applied.measure().given
    assert given == pytest.approx(20, rel=0.10)
    assert applied.undo() == "undone" and applied.undo() == "undone"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", applied.port), 0.5)


def test_jitter_spreads_round_trips_evenly_up_to_the_dose(context: Context) -> None:
    applied = registry()["net-jitter"].apply(10, {}, context)
    seen = round_trips_s(applied.port, 60)
    assert max(seen) - min(seen) > 0.005
    time.sleep(0.5)
    assert applied.measure().given == pytest.approx(10, rel=0.4)
    applied.undo()


def test_a_narrow_link_passes_all_bytes_in_order_and_no_faster(context: Context) -> None:
    applied = registry()["net-bandwidth"].apply(16, {"by": "relay"}, context)  # 2 MB/s
    sent = os.urandom(1_500_000)
    got = bytearray()
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", applied.port)) as link:
        feeder = threading.Thread(target=lambda: (link.sendall(sent), link.shutdown(socket.SHUT_WR)))
        feeder.start()
        while data := link.recv(1 << 16):
            got += data
        feeder.join()
    seconds = time.monotonic() - begun
    reading = applied.measure()
    assert bytes(got) == sent
    assert seconds > 0.9 * len(sent) / 2e6
    assert reading.given is not None and reading.given < 1.1 * 16
    applied.undo()


def test_a_limit_that_nobody_reaches_is_read_back(context: Context) -> None:
    applied = registry()["net-bandwidth"].apply(100, {"by": "relay"}, context)
    reading = applied.measure()
    assert (reading.given, reading.source) == (pytest.approx(100), "limit in force")
    applied.undo()


def test_sockets_of_the_relay_lose_what_arrives_and_tcp_makes_good_for_it(context: Context) -> None:
    applied = registry()["net-loss"].apply(20, {"by": "relay"}, context)
    assert applied.fidelity == "proxy"
    with socket.create_connection(("127.0.0.1", applied.port)) as link:
        for n in range(40):
            link.sendall(b"%4d" % n)
            assert link.recv(100) == b"%4d" % n
    reading = applied.measure()
    assert reading.remark is not None
    lost, of = (int(word) for word in reading.remark.split() if word.isdigit())
    assert of > 80 and accords(lost, (of, 0.2)) and reading.given == pytest.approx(20)
    applied.undo()


def test_violations_of_the_network_add_up(context: Context, system: System) -> None:
    first = registry()["net-latency"].apply(10, {}, context)
    second = registry()["net-latency"].apply(15, {}, replace(context, port=first.port))
    added = statistics.median(round_trips_s(second.port, 10)) - statistics.median(round_trips_s(system.port, 10))
    assert added == pytest.approx(0.025, rel=0.15)
    assert second.undo() == first.undo() == "undone"


def test_datagrams_pass_both_ways_to_whom_they_belong(context: Context) -> None:
    applied = registry()["net-latency"].apply(5, {}, context)
    senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    begun = time.monotonic()
    for at, sender in enumerate(senders):
        sender.settimeout(5)
        for n in range(4):
            sender.sendto(b"%d-%d" % (at, n), ("127.0.0.1", applied.port))
    for at, sender in enumerate(senders):
        assert [sender.recv(100) for _ in range(4)] == [b"%d-%d" % (at, n) for n in range(4)]
        sender.close()
    assert time.monotonic() - begun >= 0.004
    applied.undo()


def test_an_end_and_a_break_are_passed_on_as_what_they_are(context: Context, system: System) -> None:
    detour = Detour("net-latency", context)
    with socket.create_connection(("127.0.0.1", detour.port)) as link:
        link.sendall(b"last words")
        link.shutdown(socket.SHUT_WR)
        got = b""
        while data := link.recv(100):
            got += data
    assert got == b"last words"
    link = socket.create_connection(("127.0.0.1", detour.port))
    link.sendall(b"x")
    assert link.recv(1) == b"x"
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    link.close()
    deadline = time.monotonic() + 5
    while len(system.ends) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert system.ends == ["ended", "broken"]
    system.close()
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", detour.port), 5) as refused:
        refused.sendall(b"anybody?")
        assert refused.recv(1) == b"", "a refusal must not look like an end"
    detour.end()


def test_a_killed_relay_is_a_dose_that_is_not_given(context: Context, tmp_path: Path) -> None:
    applied = registry()["net-latency"].apply(5, {"by": "relay"}, context)
    (journal,) = (tmp_path / "state" / "undo").iterdir()
    assert [step["kind"] for step in read_open_steps(journal).values()] == ["scope"], "its undo step is on disk"
    os.kill(applied._detour._relay.pid, 9)
    applied._detour._relay.process.wait(5)
    assert applied.measure().given is None
    assert applied.undo() == "undone"


def test_without_a_system_there_is_nothing_to_stand_before(context: Context) -> None:
    for name in ("net-latency", "net-jitter", "net-bandwidth"):
        with pytest.raises(PreflightFailed, match=f"violation {name}: it stands between"):
            registry()[name].apply(1, {}, replace(context, port=None))


def test_it_listens_where_the_system_does(system: System) -> None:
    assert listening_host(system.port) == "127.0.0.1"
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        assert listening_host(everywhere.getsockname()[1]) == "0.0.0.0"


@pytest.mark.parametrize(
    ("table", "address", "host"),
    [
        ("tcp", "0A00000A", "10.0.0.10"),
        ("tcp6", "00000000000000000000000001000000", "::1"),
        ("tcp6", "0" * 32, "0.0.0.0"),
        ("udp6", "0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
@pytest.mark.skipif(sys.byteorder == "big", reason="these lines are those of a little-endian machine")
def test_addresses_are_read_as_the_kernel_writes_them(table: str, address: str, host: str, tmp_path: Path) -> None:
    state = "07" if table.startswith("udp") else "0A"
    lines = f"  sl  local_address rem_address   st\n   0: {address}:1F90 0:0000 01\n   1: {address}:1F90 0:0000 {state}\n"
    (tmp_path / table).write_text(lines)
    assert listening_host(8080, tmp_path) == host
    assert listening_host(8081, tmp_path) == "127.0.0.1"
