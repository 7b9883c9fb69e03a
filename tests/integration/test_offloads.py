"""Without offloads each packet is one of the wire: on a link of its own, and on an interface, where they come back whoever is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from agent import offload, prelude, rights
from agent.ledger import Ledger
from agent.scope import Cgroups
from agent.violations import Context, Rerouting, registry
from tests.integration.echo_system import System, before
from tests.integration.test_private_link import send_through, wants
from traces.errors import PreflightFailed

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(not rights.held(rights.NET_ADMIN, rights.SYS_ADMIN), reason="an interface's features want root")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    system = System()
    with before(system, tmp_path) as made:
        yield made
    system.close()


@wants()
def test_packets_on_the_link_are_as_long_as_a_segment_and_before_as_long_as_tcp_likes(context: Context) -> None:
    applied = registry()["no-offload"].apply(1, {}, context)
    assert isinstance(applied, Rerouting)

    def bytes_a_packet(sent: bytes) -> float:
        then = applied._path.count()[1]
        assert send_through(applied.port, sent) == sent
        now = applied._path.count()[1]
        return (now["link_bytes"] - then["link_bytes"]) / (now["link_packets"] - then["link_packets"])

    sent = os.urandom(2_000_000)
    assert bytes_a_packet(sent) <= 1514
    reading = applied.measure()
    assert reading.given == 1 and reading.remark is not None and reading.remark.startswith("no offload on")
    applied._path.offload(True)
    assert bytes_a_packet(sent) > 3000, "with them packets of many segments pass"
    reading = applied.measure()
    assert reading.given == 0, "and that is not the dose"
    applied.undo()


@pytest.fixture
def space() -> Iterator[ThreadPoolExecutor]:
    """A thread in a network namespace of its own, with an interface `nic`."""
    with ThreadPoolExecutor(1) as made:

        def enter() -> None:
            prelude.own_network()
            with IPRoute() as route:
                route.link("add", ifname="nic", kind="veth", peer={"ifname": "far"})

        made.submit(enter).result()
        yield made


@needs_root
@pytest.mark.parametrize("who", ["nobody", "agent"])
def test_what_an_interface_did_it_does_again_afterwards_whoever_is_killed(who: str, space: ThreadPoolExecutor, tmp_path: Path) -> None:
    def on() -> tuple[str, ...]:
        return space.submit(offload.working, "nic").result()

    # What was off before is not to come on.
    space.submit(offload.switch, "nic", {"tx-udp-segmentation": False}).result()
    was = on()
    assert "tx-tcp-segmentation" in was and "tx-udp-segmentation" not in was
    script = f"""
import sys
from pathlib import Path
from agent.ledger import Ledger
from agent.scope import Cgroups
from agent.violations import Context, registry
ledger = Ledger(Path({str(tmp_path)!r}))
applied = registry()["no-nic-offload"].apply(1, {{"interface": "nic"}}, Context(ledger, Cgroups(), (0,), (0,), Path({str(tmp_path)!r})))
print(applied.measure().given, flush=True)
sys.stdin.readline()
print(applied.undo(), applied.undo(), flush=True)
"""
    start = [sys.executable, "-c", script]
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    agent = space.submit(lambda: subprocess.Popen(start, **piped)).result()  # type: ignore[call-overload]
    assert agent.stdout.readline().strip() == "1.0"
    assert on() == ()
    if who == "nobody":
        agent.stdin.write("\n")
        agent.stdin.flush()
        assert agent.stdout.readline().split() == ["undone", "undone"]
    else:
        os.kill(agent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while on() != was and time.monotonic() < deadline:
        time.sleep(0.02)
    assert on() == was
    agent.communicate()


def test_loopback_and_what_is_not_there_are_refused_by_name(tmp_path: Path) -> None:
    context = Context(Ledger(tmp_path), Cgroups(), (0,), (0,), tmp_path)
    apply = registry()["no-nic-offload"].apply
    with pytest.raises(PreflightFailed, match="lo is everybody's"):
        apply(1, {"interface": "lo"}, context)
    with pytest.raises(PreflightFailed, match="interface nowhere9: No such device"):
        apply(1, {"interface": "nowhere9"}, context)
    assert context.ledger.close().get("failed", 0) == 0
