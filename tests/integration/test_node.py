"""Scopes, guard, violations: what is applied is measured, and nothing stays, whoever dies."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from agent import launcher
from agent.ledger import Ledger
from agent.scope import Cgroups, Scope
from agent.undo import UndoJournal, read_open_steps, replay_leftovers, run_step
from agent.violations import Context, registry
from protos.violations import CATALOGUE

CGROUPS = Cgroups()
needs_cgroups = pytest.mark.skipif(CGROUPS.version == 0, reason="no writable cpu cgroup here (run as root, or delegate one)")


@pytest.fixture
def ledger(tmp_path: Path):
    made = Ledger(tmp_path)
    yield made
    made.close()


def context(ledger: Ledger, tmp_path: Path, target: Scope | None = None) -> Context:
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return Context(ledger, CGROUPS, cores[:1], cores, tmp_path, target)


def ours(lease: str) -> list[str]:
    return [str(p) for p in Path("/sys/fs/cgroup").glob(f"*/offspec/{lease}/*")]


def wait_until(check, seconds: float = 8.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.02)
    return False


def test_the_catalogue_and_the_agents_violations_are_the_same() -> None:
    assert set(registry()) == {n for n, spec in CATALOGUE.items() if spec.on_node}


@needs_cgroups
@pytest.mark.parametrize(("name", "dose"), [("cpu", 25.0), ("cpu", 50.0), ("membw", 0.5)])
def test_a_dose_is_given_and_taken_back(name: str, dose: float, ledger: Ledger, tmp_path: Path) -> None:
    applied = registry()[name].apply(dose, {}, context(ledger, tmp_path))
    time.sleep(0.2)
    applied.measure()
    time.sleep(0.5)
    given = applied.measure().given
    assert given == pytest.approx(dose, rel=0.35)
    assert ours(ledger.lease)
    assert applied.undo() == "undone"
    assert not ours(ledger.lease)


@needs_cgroups
def test_quota_is_read_back_and_cores_are_what_every_task_may_use(ledger: Ledger, tmp_path: Path) -> None:
    scope = Scope("target", ledger, CGROUPS)
    here = context(ledger, tmp_path, scope)
    confined = registry()["cores"].apply(1, {}, here)
    scope.spawn(["sh", "-c", "sleep 60 & sleep 60"], cores=confined.cores)
    quota = registry()["cpu-quota"].apply(30, {}, here)
    assert quota.measure().given == pytest.approx(30)
    assert wait_until(lambda: len(scope.members()) >= 2)
    assert confined.measure().given == 1
    quota.undo()
    assert scope.quota() is None
    assert scope.end() == "undone"


@needs_cgroups
def test_a_process_cannot_leave_its_scope(ledger: Ledger) -> None:
    scope = Scope("target", ledger, CGROUPS)
    scope.spawn(["sh", "-c", "setsid sh -c 'setsid sleep 60 & setsid sleep 61 &'; sleep 62"])
    assert wait_until(lambda: len(scope.members()) >= 3)
    assert scope.end() == "undone"
    assert scope.members() == []


def test_a_child_starts_as_asked_and_not_as_we_are(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_SECRET", "x")
    scope = Scope("target", ledger, CGROUPS)
    core = min(os.sched_getaffinity(0))
    child = scope.spawn(["sleep", "60"], env={"GIVEN": "yes"}, cores=[core])
    found = launcher.facts(child.pid)
    assert found["affinity"] == [core]
    assert launcher.differences(found, [core]) == []
    assert launcher.differences({**found, "nice": 15}, [core]) == ["nice is 15, not 0"]
    environment = Path(f"/proc/{child.pid}/environ").read_text().split("\0")
    assert "GIVEN=yes" in environment
    assert not any(line.startswith(("OMP_", "RAY_")) for line in environment)
    scope.end()


def test_a_program_that_is_not_there_is_one_line(ledger: Ledger) -> None:
    scope = Scope("target", ledger, CGROUPS)
    with pytest.raises(launcher.LaunchFailed, match="no-such-program: no such program on this node"):
        scope.spawn(["no-such-program"])
    scope.end()


AGENT_LIKE = """
    import sys, time
    from pathlib import Path
    from agent.ledger import Ledger
    from agent.scope import Cgroups, Scope
    ledger = Ledger(Path(sys.argv[1]))
    scope = Scope("antagonist", ledger, Cgroups())
    scope.spawn(["sh", "-c", "setsid sleep 1000 & sleep 1000"])
    time.sleep(0.2)
    print(ledger.lease, ledger._guard.pid, flush=True)
    time.sleep(1000)
"""


def started(tmp_path: Path) -> tuple["subprocess.Popen[str]", str, int]:
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(AGENT_LIKE), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lease, guard = process.stdout.readline().split()
    return process, lease, int(guard)


def alive(token: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if token.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


def test_when_the_agent_is_killed_its_guard_undoes_everything(tmp_path: Path) -> None:
    process, lease, _ = started(tmp_path)
    assert alive(f"OFFSPEC_SCOPE={lease}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: not alive(f"OFFSPEC_SCOPE={lease}") and not ours(lease))
    assert wait_until(lambda: not list(tmp_path.glob("undo/*")))


def test_when_the_agent_hangs_its_guard_undoes_everything(tmp_path: Path) -> None:
    process, lease, _ = started(tmp_path)
    process.send_signal(signal.SIGSTOP)
    try:
        assert wait_until(lambda: not alive(f"OFFSPEC_SCOPE={lease}") and not ours(lease))
    finally:
        process.kill()
        process.wait()


def test_a_live_owners_journal_is_left_alone(tmp_path: Path) -> None:
    journal = UndoJournal(tmp_path, "live")
    (tmp_path / "tree").mkdir()
    journal.record(1, {"kind": "tree", "path": str(tmp_path / "tree"), "mark": ".offspec"})
    assert replay_leftovers(tmp_path) == {"undone": 0, "foreign": 0, "failed": 0}
    assert (tmp_path / "tree").exists()
    journal.close()


def test_a_torn_last_line_is_a_change_that_was_never_made(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text('{"id": 1, "step": {"kind": "tree", "path": "/x", "mark": "m"}}\n{"id": 2, "st')
    assert list(read_open_steps(path)) == [1]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "data").touch()
    assert run_step({"kind": "tree", "path": str(tmp_path / "theirs"), "mark": ".offspec"}) == "foreign"
    assert run_step({"kind": "scope", "name": "x", "paths": ["/sys/fs/cgroup/cpu"], "token": "OFFSPEC_SCOPE=a/b"}) == "foreign"
    assert (tmp_path / "theirs" / "data").exists()


def test_cgroup_v2_and_none_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory")
    (tmp_path / "cgroup.procs").write_text("")
    assert Cgroups(tmp_path).version == 2
    assert Cgroups(tmp_path / "none").version == 0
    assert Cgroups(tmp_path / "none").homes() == {}
