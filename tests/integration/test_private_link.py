"""A link of its own between load and system: the kernel narrows it or loses packets there, it is counted, and none of it is on the node."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2.netlink.rtnl import RTM_NEWQDISC

from agent import hop, kernel_path, queues
from agent.detour import Detour
from agent.snapshot import network
from agent.undo import read_open_steps, replay_leftovers
from agent.violations import Context, Rerouting, registry
from agent.violations.net_loss import accords
from tests.integration.echo_system import System, before, round_trips_s
from tests.integration.test_without_root import dropped
from traces.errors import PreflightFailed

ROOT = Path(__file__).parents[2]


def wants(*names: str) -> pytest.MarkDecorator:
    able = kernel_path.able()
    lacking = [name for name in ("link", *names) if not getattr(able, name)]
    return pytest.mark.skipif(bool(lacking), reason=f"no {', '.join(lacking)} here: {able.reason(*lacking)}")


@pytest.fixture
def system() -> Iterator[System]:
    made = System()
    yield made
    made.close()


@pytest.fixture
def context(tmp_path: Path, system: System) -> Iterator[Context]:
    with before(system, tmp_path) as made:
        yield made


def send_through(port: int, sent: bytes) -> bytes:
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port)) as link:
        feeder = threading.Thread(target=lambda: (link.sendall(sent), link.shutdown(socket.SHUT_WR)))
        feeder.start()
        while data := link.recv(1 << 16):
            got += data
        feeder.join()
    return bytes(got)


@wants("tbf")
def test_a_narrow_link_lets_through_what_was_asked_for_and_all_of_it(context: Context) -> None:
    applied = registry()["net-bandwidth"].apply(16, {}, context)  # 2 MB/s
    assert isinstance(applied, Rerouting) and applied.mechanism.startswith("tbf on a link of its own")
    assert (first := applied.measure()).source == "limit in force" and first.given == pytest.approx(16)
    sent, begun = os.urandom(2_000_000), time.monotonic()
    assert send_through(applied.port, sent) == sent
    reading, seconds = applied.measure(), time.monotonic() - begun
    assert seconds > 0.9 * len(sent) / 2e6, "no faster than it is wide"
    assert reading.given is not None and reading.given < 1.1 * 16
    applied.set(40)
    between, after = applied.measure().given, applied.measure().given
    assert between is not None and 16 < between < 40 and after == pytest.approx(40), "a second in which it changed is the mean of both"
    assert applied.undo() == "undone" and applied.undo() == "undone"


@wants("cls_bpf")
def test_packets_are_lost_as_often_as_asked_and_tcp_makes_good_for_them(context: Context) -> None:
    applied = registry()["net-loss"].apply(5, {}, context)
    sent = os.urandom(3_000_000)
    assert send_through(applied.port, sent) == sent, "lost packets are sent again"
    reading = applied.measure()
    assert reading.remark is not None
    lost, of, by_filter, again = (int(word.rstrip(";,")) for word in reading.remark.split() if word.rstrip(";,").isdigit())
    assert of > 2 * len(sent) / 1514 and accords(lost, (of, 0.05))
    assert lost == pytest.approx(by_filter, abs=3) and again > 0.2 * lost, "the stack's account, the filter's, and TCP's"
    assert reading.given == pytest.approx(5)
    applied.undo()


@wants("cls_bpf")
def test_datagrams_are_lost_for_good(context: Context) -> None:
    applied = registry()["net-loss"].apply(30, {}, context)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0.5)
        for n in range(400):
            sender.sendto(b"%d" % n, ("127.0.0.1", applied.port))
            if n % 20 == 19:
                time.sleep(0.005)
        back = 0
        try:
            while sender.recv(100):
                back += 1
        except TimeoutError:
            pass
    assert accords(400 - back, (400, 1 - 0.7 * 0.7)), f"{back} of 400 came back, each way loses 30 percent"
    applied.undo()


@wants("tbf")
def test_the_node_s_own_network_has_nothing_of_it(context: Context, tmp_path: Path) -> None:
    bare = network()
    applied = registry()["net-bandwidth"].apply(16, {}, context)
    assert network() == bare
    (journal,) = (tmp_path / "state" / "undo").iterdir()
    assert [step["kind"] for step in read_open_steps(journal).values()] == ["scope"], "its undo step is on disk"
    assert applied.undo() == "undone"
    assert network() == bare


def namespaces() -> set[str]:
    """Those that any thread is in or any process holds."""
    found = set()
    for pattern in ("[0-9]*/task/[0-9]*/ns/net", "[0-9]*/fd/[0-9]*"):
        for path in Path("/proc").glob(pattern):
            try:
                target = str(path.readlink())
            except OSError:
                continue  # ended while we looked
            if target.startswith("net:"):
                found.add(target)
    return found


@wants("tbf")
@pytest.mark.parametrize("who", ["all", "agent", "link"])
def test_whoever_is_killed_no_namespace_and_no_link_is_left(who: str, tmp_path: Path, system: System) -> None:
    bare, spaces = network(), namespaces()
    script = f"""
import json, os, time
from pathlib import Path
from agent.ledger import Ledger
from agent.scope import Cgroups
from agent.violations import Context, registry
work = Path({str(tmp_path)!r}) / "work"
work.mkdir()
ledger = Ledger(Path({str(tmp_path)!r}) / "state")
applied = registry()["net-bandwidth"].apply(16, {{}}, Context(ledger, Cgroups(), (0,), (0,), work, port={system.port}))
print(json.dumps([ledger._guard.pid, applied._detour._relay.pid]), flush=True)
time.sleep(60)
"""
    agent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert agent.stdout is not None
    guard, link = json.loads(agent.stdout.readline())
    assert len(namespaces() - spaces) == 2
    heirs = [int(pid) for pid in Path(f"/proc/{guard}/task/{guard}/children").read_text().split()]
    for pid in {"all": [*heirs, guard, agent.pid], "agent": [agent.pid], "link": [link]}[who]:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while namespaces() - spaces and time.monotonic() < deadline:
        time.sleep(0.02)
    assert namespaces() <= spaces and network() == bare
    agent.kill()
    agent.wait()
    agent.stdout.close()
    while (left := replay_leftovers(tmp_path / "state")) and any(left.values()) and time.monotonic() < deadline:
        time.sleep(0.02)


def test_netem_is_asked_for_each_way_and_jitter_on_the_way_in_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    class End:
        """The boundary: what would go to the kernel."""

        def __init__(self, name: str) -> None:
            self.name = name

        def within(self, work: Any, *args: Any) -> Any:
            return work(*args)

        def single(self) -> None:
            asked.append((self.name, "segments one by one"))

        def request(self, *words: Any) -> None:
            asked.append((self.name, *words))

    link = object.__new__(hop.Link)
    link.ends, link._made = (End("ofs-load"), End("ofs-system")), set()  # type: ignore[assignment]
    link.shape(delay_ns=5_000_000, jitter_ns=2_000_000, lost=0.01)
    link.shape(delay_ns=6_000_000)
    new, change, root = 0x605, 0x005, 0xFFFFFFFF
    in_, out = queues.netem(delay_ns=5_000_000, jitter_ns=2_000_000, lost=0.01), queues.netem(delay_ns=5_000_000, lost=0.01)
    again = queues.netem(delay_ns=6_000_000)
    assert asked == [
        ("ofs-load", "segments one by one"),
        ("ofs-load", RTM_NEWQDISC, new, "netem", in_, root, 0x0F50000),
        ("ofs-system", "segments one by one"),
        ("ofs-system", RTM_NEWQDISC, new, "netem", out, root, 0x0F50000),
        ("ofs-load", RTM_NEWQDISC, change, "netem", again, root, 0x0F50000),
        ("ofs-system", RTM_NEWQDISC, change, "netem", again, root, 0x0F50000),
    ]


@wants("netem")
def test_netem_makes_round_trips_longer_by_the_dose(context: Context, system: System) -> None:
    applied = registry()["net-latency"].apply(20, {}, context)
    assert isinstance(applied, Rerouting) and applied.mechanism.startswith("netem")
    added = sorted(round_trips_s(applied.port, 20))[10] - sorted(round_trips_s(system.port, 20))[10]
    assert added == pytest.approx(0.020, rel=0.10)
    applied.undo()


def test_without_root_a_user_namespace_will_do_or_the_reason_is_told() -> None:
    way = dropped() if os.geteuid() == 0 else []
    if way is None:
        pytest.skip("nobody may not run this Python, or there is no setpriv")
    done = subprocess.run([*way, *kernel_path.PROGRAM, "try"], capture_output=True, text=True, cwd="/", env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["link"] or "root, or user namespaces" in found["why"]["link"]


def test_a_node_without_such_a_link_says_so_and_the_relay_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    unable = kernel_path.Able(why={"link": "root, or user namespaces for everybody, is needed (Operation not permitted)"})
    monkeypatch.setattr(kernel_path, "able", lambda: unable)
    from agent.scope import Cgroups

    for name in ("net-latency", "net-jitter", "net-bandwidth", "net-loss"):
        able = registry()[name].probe(Cgroups(), 2)
        assert able.supported and able.fidelity == "proxy" and "user namespaces" in able.reason


def test_a_kernel_with_netem_is_given_the_dose_less_what_the_way_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_path, "able", lambda: kernel_path.Able(link=True, netem=True))
    asked: list[dict[str, Any]] = []

    class Path:
        def shape(self, **settings: Any) -> None:
            asked.append(settings)

    def made(self: Detour, name: str, context: object, *, link: bool, lost: float) -> None:
        assert link and not lost
        self._path, self.port, self.own_ns = Path(), 7, 200_000  # type: ignore[assignment]

    monkeypatch.setattr(Detour, "__init__", made)
    monkeypatch.setattr(Detour, "added_ns", lambda self: None)
    monkeypatch.setattr(Detour, "spread_ns", lambda self: None)
    late = registry()["net-latency"].apply(10, {}, None)  # type: ignore[arg-type]
    uneven = registry()["net-jitter"].apply(4, {}, None)  # type: ignore[arg-type]
    assert asked == [{"delay_ns": 4_900_000, "jitter_ns": 0, "bytes_per_s": 0}, {"delay_ns": 0, "jitter_ns": 4_000_000, "bytes_per_s": 0}]
    assert late.fidelity == uneven.fidelity == "equivalent"
    assert late.mechanism == "netem on a link of its own between load and system (its own 0.200 ms taken off)"


@wants()
def test_what_the_kernel_refuses_is_one_line_and_nothing_is_left(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel_path.able().netem:
        pytest.skip("this kernel has netem")
    monkeypatch.setattr(kernel_path, "able", lambda: kernel_path.Able(link=True, netem=True))
    with pytest.raises(PreflightFailed, match="violation net-latency: the kernel has no such queue"):
        registry()["net-latency"].apply(10, {}, context)
