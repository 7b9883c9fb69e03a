"""Swap as the slow tier, for real where this machine can: pages lie there, come back, and the area is gone whoever was killed."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import swap
from agent.ledger import Ledger
from agent.leftovers import find
from agent.scope import Cgroups, Scope
from agent.snapshot import swap_areas
from agent.undo import run_step, swaps
from agent.violations import Context
from agent.violations.swap_tier import VIOLATION
from tests.rig import await_true
from traces.errors import PreflightFailed

CGROUPS = Cgroups()
MIB = 1 << 20


@pytest.fixture
def scope(tmp_path: Path) -> Iterator[Scope]:
    ledger = Ledger(tmp_path / "state")
    yield Scope("target", ledger, CGROUPS)
    ledger.close()
    assert not ours(tmp_path)


def ours(folder: Path) -> list[str]:
    return [path for path in swaps() if path.startswith(str(folder))]


def able(tmp_path: Path) -> None:
    if "memory" not in CGROUPS.homes() or swap.free_bytes() or (why := swap.why_no_file(tmp_path, 192 * MIB)):
        pytest.skip(f"no memory cgroup, or swap of its own, or: {why if not swap.free_bytes() else 'there is swap already'}")


def context(scope: Scope, folder: Path) -> Context:
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return Context(scope._ledger, CGROUPS, cores[:1], cores, folder, scope)


TOUCH = """
    held = bytearray(96 << 20)
    print("held", flush=True)
    at = 0
    while True:
        held[at] = 1
        at = (at + 4096) % len(held)
"""


def test_what_does_not_fit_lies_in_swap_and_is_fetched_from_there(scope: Scope, tmp_path: Path) -> None:
    able(tmp_path)
    applied = VIOLATION.apply(48, {"swap_mib": "192"}, context(scope, tmp_path))
    assert "swap in " in applied.mechanism and ours(tmp_path) == [str(tmp_path / swap.NAME)]
    assert (tmp_path / swap.NAME).stat().st_mode & 0o077 == 0
    first = applied.measure()
    assert (first.given, first.swapped_mib) == (pytest.approx(48, rel=0.01), 0)
    child = scope.spawn([sys.executable, "-c", textwrap.dedent(TOUCH)])

    def swapping() -> bool:
        reading = applied.measure()
        return (reading.swapped_mib or 0) > 20 and (reading.major_faults_per_s or 0) > 0

    assert await_true(swapping, 20), "96 MiB do not fit into 48"
    assert child.exit_code() is None, "it lives on in swap"
    assert swap.areas()[0].used_bytes > 20 * MIB, "the machine's own table says so, too"
    assert (applied.undo(), applied.undo()) == ("undone", "undone")
    assert not ours(tmp_path) and not (tmp_path / swap.NAME).exists()
    assert child.exit_code() is None and applied.measure().given is None, "all of it came back into memory"


OWNER = """
    import sys, time
    from pathlib import Path
    from agent.ledger import Ledger
    from agent.scope import Cgroups, Scope
    from agent.violations import Context
    from agent.violations.swap_tier import VIOLATION
    folder = Path(sys.argv[1])
    ledger = Ledger(folder / "state")
    scope = Scope("target", ledger, Cgroups())
    VIOLATION.apply(32, {"swap_mib": "64"}, Context(ledger, Cgroups(), (0,), (0,), folder, scope))
    scope.spawn([sys.executable, "-c", "held = bytearray(64 << 20); import time; time.sleep(600)"])
    print("applied", flush=True)
    time.sleep(600)
"""


def test_an_owner_that_is_killed_leaves_no_swap_area(tmp_path: Path) -> None:
    able(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "applied\n"
        assert ours(tmp_path)
        owner.kill()
    assert await_true(lambda: not ours(tmp_path) and not list(tmp_path.glob("state/undo/*")), 15)
    assert not (tmp_path / swap.NAME).exists()


def test_a_file_that_cannot_be_swapped_to_is_one_line_and_leaves_nothing(scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    shm = Path("/dev/shm") / f"offspec-test-{os.getpid()}"
    if os.geteuid() != 0 or not shm.parent.is_dir():
        pytest.skip("wants root and /dev/shm")
    shm.mkdir()
    try:
        assert "takes no plain swap file; give one on ext3, ext4, xfs" in (swap.why_no_file(shm, MIB) or "")
        with pytest.raises(PreflightFailed, match=r"swap file .*offspec-swap: Invalid argument; give a folder on ext3"):
            swap.add(shm, MIB, [], scope._ledger)
        assert not list(shm.iterdir())
    finally:
        shm.rmdir()


def test_the_nodes_own_swap_is_taken_where_there_is_enough(scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "memory" not in CGROUPS.homes():
        pytest.skip("no writable memory cgroup")
    monkeypatch.setattr(swap, "areas", lambda *_: [swap.Area(Path("/dev/sda2"), 512 * MIB, 0)])
    applied = VIOLATION.apply(64, {"swap_mib": "256"}, context(scope, tmp_path))
    assert applied.mechanism.endswith("over swap in /dev/sda2") and not list(tmp_path.glob("offspec-*"))
    assert applied.measure().given == pytest.approx(64, rel=0.01)
    assert applied.undo() == "undone" and applied.measure().given is None


def test_the_table_of_areas_is_read_and_ours_are_known(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    (tmp_path / "proc/swaps").write_text(head + "/dev/sda2 partition\t1000\t10\t-2\n/var/a\\040b/offspec-swap file\t500\t0\t-3\n")
    assert swaps(tmp_path / "proc/swaps") == {"/dev/sda2": (1_024_000, 10_240), "/var/a b/offspec-swap": (512_000, 0)}
    assert swap_areas(tmp_path) == {"our swap": {"/var/a b/offspec-swap": "512000"}, "swap": {"/dev/sda2": "1024000"}}
    assert swap.free_bytes(tmp_path / "proc/swaps") == 1_525_760
    (left,) = [each for each in find(tmp_path / "state", tmp_path) if "swap" in each.what]
    assert left.ours and left.step == {"kind": "swap", "path": "/var/a b/offspec-swap", "lift": []}


@pytest.mark.parametrize(
    "step",
    [
        {"kind": "swap", "path": "/swapfile", "lift": []},
        {"kind": "swap", "path": "/x/offspec-swap", "lift": [["/sys/fs/cgroup/memory/memory.limit_in_bytes", "-1"]]},
    ],
)
def test_a_step_that_is_not_about_ours_does_nothing(step: dict[str, object]) -> None:
    assert run_step(step) == "foreign"
