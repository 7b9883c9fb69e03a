"""The guard and its heir: whoever is killed, hung or out of disk, what was changed is taken back, and nothing is changed without them."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.guard import boottime_s
from agent.ledger import Ledger
from agent.undo import UndoJournal, read_open_steps, replay_leftovers
from tests.rig import await_true, guards_of
from traces.errors import PreflightFailed, SafetyStop


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    yield made
    made.close()


def folder_of_ours(tmp_path: Path, name: str = "made") -> Path:
    made = tmp_path / name
    made.mkdir()
    (made / ".offspec").touch()
    return made


def step_for(folder: Path) -> dict[str, str]:
    return {"kind": "tree", "path": str(folder), "mark": ".offspec"}


AGENT_LIKE = """
    import sys, time
    from pathlib import Path
    from agent.ledger import Ledger
    from agent.scope import Cgroups, Scope
    ledger = Ledger(Path(sys.argv[1]))
    scope = Scope("antagonist", ledger, Cgroups())
    scope.spawn(["sh", "-c", "setsid sleep 1000 & setsid sh -c 'sleep 1001 &' & sleep 1000"])
    time.sleep(0.2)
    print(scope.token, *scope.paths, flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str, list[str]]]:
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(AGENT_LIKE), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    token, *paths = process.stdout.readline().split()
    yield process, token, paths
    process.kill()
    process.wait()
    replay_leftovers(tmp_path)


def nothing_left(tmp_path: Path, token: str, paths: list[str]) -> Callable[[], bool]:
    from agent.undo import members

    return lambda: not members(paths, token) and not any(Path(p).exists() for p in paths) and not list(tmp_path.glob("undo/*"))


@pytest.mark.parametrize("victims", ["guard", "heir", "agent", "agent guard", "agent heir", "guard heir", "hung agent"])
def test_whoever_is_killed_nothing_is_left(victims: str, agent: tuple["subprocess.Popen[str]", str, list[str]], tmp_path: Path) -> None:
    process, token, paths = agent
    found = guards_of(tmp_path)
    pids = {"agent": process.pid, "guard": found["offspec-guard"], "heir": found["offspec-heir"]}
    for word in victims.split():
        if word == "hung":
            os.kill(process.pid, signal.SIGSTOP)
            break
        os.kill(pids[word], signal.SIGKILL)
    if victims in ("guard", "heir"):
        # The agent goes on, covered again by two; only when it dies too is everything undone.
        assert await_true(lambda: len(now := guards_of(tmp_path)) == 2 and now != found)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    if victims == "guard heir":
        process.kill()  # nobody watches any more: the next start finds it
        process.wait()
        assert await_true(lambda: replay_leftovers(tmp_path) == {"undone": 1, "foreign": 0, "failed": 0})
        assert replay_leftovers(tmp_path) == {"undone": 0, "foreign": 0, "failed": 0}
    assert await_true(nothing_left(tmp_path, token, paths), 9.0)
    assert await_true(lambda: not guards_of(tmp_path))


def test_an_agent_that_lost_its_guard_and_heir_may_change_nothing_more(ledger: Ledger, tmp_path: Path) -> None:
    for pid in guards_of(tmp_path).values():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(SafetyStop, match="nothing may be changed"):
        ledger.record(step_for(tmp_path / "x"))
    assert not ledger.guarded


def test_an_agent_goes_on_with_the_heir_of_a_killed_guard(ledger: Ledger, tmp_path: Path) -> None:
    first = folder_of_ours(tmp_path)
    ledger.record(step_for(first))
    os.kill(guards_of(tmp_path)["offspec-guard"], signal.SIGKILL)
    second = folder_of_ours(tmp_path, "second")
    number = ledger.record(step_for(second))
    assert ledger.undo(number) == "undone" and not second.exists()
    (journal,) = tmp_path.glob("undo/*")
    assert len(read_open_steps(journal)) == 1
    assert ledger.close() == {"undone": 1}
    assert not first.exists() and not journal.exists()


def test_a_violation_ends_at_its_time_though_everybody_lives_and_the_others_stay(ledger: Ledger, tmp_path: Path) -> None:
    short, long = folder_of_ours(tmp_path, "short"), folder_of_ours(tmp_path, "long")
    with ledger.ending(0.3):
        ledger.record(step_for(short))
    ledger.record(step_for(long))
    assert await_true(lambda: not short.exists())
    assert long.exists() and ledger.guarded


def test_the_time_of_a_violation_is_inherited(ledger: Ledger, tmp_path: Path) -> None:
    short = folder_of_ours(tmp_path, "short")
    with ledger.ending(0.6):
        ledger.record(step_for(short))
    os.kill(guards_of(tmp_path)["offspec-guard"], signal.SIGKILL)
    assert await_true(lambda: not short.exists())
    other = folder_of_ours(tmp_path, "other")
    ledger.record(step_for(other))
    ledger.end_at(boottime_s() + 0.3)
    os.kill(guards_of(tmp_path)["offspec-guard"], signal.SIGKILL)
    assert await_true(lambda: not other.exists())
    assert await_true(lambda: not ledger.guarded)


def test_sigterm_to_the_guard_means_undo_now_and_the_agent_knows_it(ledger: Ledger, tmp_path: Path) -> None:
    made = folder_of_ours(tmp_path)
    ledger.record(step_for(made))
    os.kill(guards_of(tmp_path)["offspec-guard"], signal.SIGTERM)
    assert await_true(lambda: not made.exists() and not ledger.guarded)


def test_a_state_folder_that_cannot_be_written_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflightFailed, match=r"file/undo: Not a directory; nothing is changed on this machine.*OFFSPEC_STATE_DIR"):
        Ledger(tmp_path / "file")


def test_a_full_disk_refuses_the_change_and_loses_no_step(tmp_path: Path) -> None:
    journal = UndoJournal(tmp_path, "full")
    journal.record(1, step_for(tmp_path / "a"))
    size = journal.path.stat().st_size
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(OSError):
            journal.record(2, step_for(tmp_path / "b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)
    assert journal.path.stat().st_size == size, "half a line would take the next one along"
    journal.record(3, step_for(tmp_path / "c"))
    assert list(read_open_steps(journal.path)) == [1, 3]
    journal.undo_all()
    journal.close()


def test_a_line_that_a_killed_guard_left_half_costs_no_other_line(tmp_path: Path) -> None:
    journal = UndoJournal(tmp_path, "torn")
    journal.record(1, step_for(tmp_path / "a"))
    with journal.path.open("ab") as file:
        file.write(b'{"id": 2, "st')
    journal.reload()
    journal.record(3, step_for(tmp_path / "c"))
    assert list(read_open_steps(journal.path)) == [1, 3]
    journal.undo_all()
    journal.close()


def test_a_process_that_only_has_the_number_of_one_of_ours_is_not_killed(tmp_path: Path) -> None:
    from agent.undo import _kill

    stranger = subprocess.Popen(["sleep", "60"])
    try:
        _kill(stranger.pid, ["/sys/fs/cgroup/cpu/offspec/abc/x"], "OFFSPEC_SCOPE=abc/x")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_folder_whose_removal_was_cut_short_is_found_again(tmp_path: Path) -> None:
    from agent.undo import run_step

    made = folder_of_ours(tmp_path)
    (made / "deep").mkdir()
    (made / "deep" / "file").touch()
    assert run_step(step_for(made)) == "undone" and not made.exists()
    made.mkdir()  # made, and its owner killed before it was marked
    assert run_step(step_for(made)) == "undone" and not made.exists()


SHEDS = "import os, sys; os.execve('/bin/sleep', ['a-title-over-it', '60'], {})"


def test_who_sheds_his_environment_is_known_by_his_session_and_others_are_not_touched(tmp_path: Path) -> None:
    """Ray's helpers write their titles over the token."""
    from agent.undo import run_step

    lead = textwrap.dedent(
        f"""
        import subprocess, sys
        from agent.undo import session_here
        inside = subprocess.Popen([sys.executable, "-c", {SHEDS!r}], process_group=0)
        outside = subprocess.Popen([sys.executable, "-c", {SHEDS!r}], start_new_session=True)
        print(*session_here(), inside.pid, outside.pid, flush=True)
        sys.stdin.read()
        """
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", lead], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    sid, started, inside, outside = map(int, leader.stdout.readline().split())
    step = {"kind": "scope", "name": "ray", "paths": [], "token": "OFFSPEC_SCOPE=none/ray"}
    try:
        assert await_true(lambda: b"a-title" in Path(f"/proc/{inside}/cmdline").read_bytes())
        assert run_step({**step, "session": [sid, started + 1]}) == "undone"
        assert alive(inside), "a leader with another start leads another session"
        os.kill(leader.pid, signal.SIGSTOP)
        assert run_step({**step, "session": [sid, started]}) == "undone"
        assert not alive(inside) and alive(outside) and alive(leader.pid)
    finally:
        leader.kill()
        leader.wait()
        os.kill(outside, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_an_owner_whose_guard_and_heir_were_killed_closes_its_own_journal(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record(step_for(folder_of_ours(tmp_path)))
    found = guards_of(tmp_path)
    for name in ("offspec-heir", "offspec-guard"):
        os.kill(found[name], signal.SIGKILL)
    ledger.close()
    assert list((tmp_path / "undo").glob("*")) == []


def test_a_keepers_first_step_undoes_what_an_agent_killed_with_its_guards_left(tmp_path: Path) -> None:
    agents = UndoJournal(tmp_path, "agent")
    made = folder_of_ours(tmp_path)
    agents.record(1, step_for(made))
    keepers = UndoJournal(tmp_path, "keeper")
    keepers.record(1, {"kind": "journals", "state_dir": str(tmp_path)})
    assert keepers.undo(1) == "undone"
    assert made.exists(), "its owner lives"
    os.close(agents._fd)  # as a killed owner leaves it
    keepers.record(2, {"kind": "journals", "state_dir": str(tmp_path)})
    assert keepers.undo_all() == {"undone": 1, "foreign": 0, "failed": 0}
    assert not made.exists()
    keepers.close()
