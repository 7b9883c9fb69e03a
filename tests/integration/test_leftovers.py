"""Planted leftovers: `offspec doctor` finds each, changes none; `offspec undo --all` removes ours, and never another one's."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import quarantine
from agent.ledger import Ledger
from agent.scope import Cgroups, Scope
from agent.undo import UndoJournal
from tests.rig import await_true

LEASE = "0123456789ab"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFFSPEC_STATE_DIR", str(tmp_path))
    return tmp_path


def offspec(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "agent.cli", *words], capture_output=True, text=True, timeout=60)


def leftovers(state: Path) -> list[str]:
    found = json.loads(offspec("doctor", "--json").stdout)["leftovers"]
    return [f"{each['origin']}: {each['what']}" for each in found if LEASE in each["what"] or str(state) in each["what"]]


@pytest.fixture
def orphan() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with our token whose lease nobody holds, in a cgroup of ours where there are any."""
    env = {**os.environ, "OFFSPEC_SCOPE": f"{LEASE}/planted"}
    process = subprocess.Popen(["sleep", "300"], env=env, start_new_session=True)
    homes = Cgroups().homes()
    made = [home / "offspec" / LEASE / "planted" for home in {homes[k] for k in homes}]
    for group in made:
        group.mkdir(parents=True)
        (group / "cgroup.procs").write_text(str(process.pid))
    yield process
    process.kill()
    process.wait()
    for group in made:
        for path in (group, group.parent):
            if path.exists():
                path.rmdir()


def test_an_orphaned_scope_is_found_by_doctor_and_taken_away_by_undo_without_any_journal(
    state: Path, orphan: "subprocess.Popen[bytes]"
) -> None:
    (found,) = leftovers(state)
    assert found.startswith(f"offspec: scope {LEASE}/planted: process {orphan.pid} (sleep 300)")
    assert orphan.poll() is None, "doctor changes nothing"
    stranger = subprocess.Popen(["sleep", "301"])
    try:
        done = offspec("undo", "--all", "--json")
        assert done.returncode == 0, done.stderr
        assert orphan.wait(5) == -9
        assert leftovers(state) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_old_journal_is_found_and_replayed_and_a_living_owners_is_not(state: Path) -> None:
    (state / "made").mkdir()
    (state / "made" / ".offspec").touch()
    journal = UndoJournal(state, LEASE)
    journal.record(1, {"kind": "tree", "path": str(state / "made"), "mark": ".offspec"})
    os.close(journal._fd)  # as a killed owner leaves it
    living = Ledger(state)
    scope = Scope("alive", living, Cgroups())
    scope.spawn(["sleep", "300"])
    try:
        assert leftovers(state) == [f"offspec: undo journal {journal.path}"]
        assert json.loads(offspec("undo", "--all", "--json").stdout)["undone"] == 1
        assert not (state / "made").exists() and not journal.path.exists()
        assert scope.members(), "its guard lives: it is no leftover"
        told = json.loads(offspec("undo", "--all", "--live", "--json").stdout)
        assert told["guards_told"] == 1
        assert not scope.members()
        assert await_true(lambda: not living.guarded), "it learns that by its next ping"
    finally:
        living.close()


def test_a_quarantined_node_refuses_an_injection_until_undo(state: Path) -> None:
    quarantine.declare(state, "t001.1", ["our queue eth0 f5: (tbf)"])
    refused = offspec("inject", "cpu", "--dose", "5", "--for", "1s")
    assert refused.returncode == 4
    assert refused.stderr.startswith("offspec: error: inject cpu: this node is quarantined: after t001.1 this was left behind: our queue")
    assert refused.stderr.count("\n") == 1
    assert "takes trials           no, quarantined" in offspec("doctor").stdout
    cleaned = offspec("undo", "--all")
    assert cleaned.returncode == 0 and "quarantine lifted" in cleaned.stdout
    assert "takes trials           yes" in offspec("doctor").stdout


def test_stress_of_others_is_told_and_left_alone(state: Path, tmp_path: Path) -> None:
    (tmp_path / "stress-ng").symlink_to("/bin/sleep")
    other = subprocess.Popen([str(tmp_path / "stress-ng"), "300"])
    try:
        time.sleep(0.1)
        found = [each for each in json.loads(offspec("doctor", "--json").stdout)["leftovers"] if f"process {other.pid} " in each["what"]]
        assert [(each["origin"], each["ours"]) for each in found] == [("stress-ng", False)]
        offspec("undo", "--all")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
