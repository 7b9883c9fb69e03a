"""A neighbour that nobody ordered, on a real core."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import foreign
from agent.ledger import Ledger
from agent.scope import Cgroups, Scope

CGROUPS = Cgroups()
CORE = min(os.sched_getaffinity(0))
SPIN = f"import os; os.sched_setaffinity(0, {{{CORE}}})\nwhile True: pass"

pytestmark = [
    pytest.mark.skipif(CGROUPS.version == 0, reason="no writable cpu cgroup here (run as root, or delegate one)"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="wants two cores: one to share, one to look from"),
]


@pytest.fixture
def scope(tmp_path: Path) -> Iterator[Scope]:
    ledger = Ledger(tmp_path)
    made = Scope("target", ledger, CGROUPS)
    made.spawn([sys.executable, "-c", SPIN])
    yield made
    made.end()
    ledger.close()


def others(scope: Scope, seconds: float = 1.0) -> float:
    lease = scope.token.partition("=")[2].partition("/")[0]
    time.sleep(0.2)
    before = foreign.read({CORE}, CGROUPS, lease)
    time.sleep(seconds)
    share = foreign.share(before, foreign.read({CORE}, CGROUPS, lease))
    assert share is not None
    return share


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_stranger_on_the_systems_core_is_seen(scope: Scope) -> None:
    with subprocess.Popen([sys.executable, "-c", SPIN]) as stranger:
        try:
            time.sleep(0.5)
            began, before = time.monotonic(), cpu_s(stranger.pid)
            seen = others(scope)
            took = (cpu_s(stranger.pid) - before) / (time.monotonic() - began)
        finally:
            stranger.kill()
    # The scheduler halves the core, or gives each session its half, or less where the machine has more to do: as the kernel says.
    assert took > 0.05, "the stranger did not run"
    assert seen > 0.8 * took, (seen, took)


def test_the_system_itself_is_no_stranger(scope: Scope) -> None:
    with subprocess.Popen([sys.executable, "-c", SPIN]) as stranger:
        try:
            seen = others(scope)
        finally:
            stranger.kill()
    assert seen < 0.95, "the system spins on the core beside it"
