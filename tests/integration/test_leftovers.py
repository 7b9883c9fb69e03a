"""Planted leftovers: `offspec doctor` finds each, changes none; `offspec undo --all` removes ours, and never another one's."""

import json
import os
import shutil
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


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_a_folder_of_a_killed_owner_goes_and_one_without_our_mark_or_with_a_living_owner_stays(state: Path, temporary: Path) -> None:
    script = "import time\nfrom traces.scratch import scratch\nwith scratch('x') as made:\n    print(made, flush=True); time.sleep(60)"
    killed, living = (subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2))
    assert killed.stdout is not None and living.stdout is not None
    left, used = Path(killed.stdout.readline().strip()), Path(living.stdout.readline().strip())
    alike = temporary / "offspec-of-somebody"
    alike.mkdir()
    try:
        killed.kill()
        killed.wait()
        assert sorted(leftovers(state)) == [f"offspec: folder {left}", f"unknown: folder {alike}"]
        done = offspec("undo", "--all")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("1 undone")
        assert f"not touched: folder {alike}: its name begins like ours" in done.stderr
        assert not left.exists() and used.exists() and alike.exists()
    finally:
        living.kill()
        living.wait()


def test_what_is_ours_and_cannot_be_taken_away_is_exit_code_one(state: Path, temporary: Path) -> None:
    folder = temporary / "offspec-stuck"
    folder.mkdir()
    (folder / ".offspec").touch()
    mount = subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip("may not mount here")
    try:
        (folder / ".offspec").touch()
        done = offspec("undo", "--all")
        assert done.returncode == 1
        assert f"still there: folder {folder}" in done.stderr or "1 failed" in done.stdout
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="wants root and ip")
def test_an_orphaned_network_namespace_goes_with_its_links(state: Path) -> None:
    name = f"offspec-{LEASE}-way"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "add", "ofs0", "type", "dummy"], capture_output=True)
        assert leftovers(state) == [f"offspec: network namespace {name}"]
        assert offspec("undo", "--all").returncode == 0
        assert not Path("/run/netns", name).exists()
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)


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
