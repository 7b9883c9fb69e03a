"""Frequency, turbo and SMT on a made tree of sysfs: set, read back, and put back, whoever is killed; another one's value is left."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.ledger import Ledger
from agent.scope import Cgroups
from agent.undo import run_step
from agent.violations import Context, Violation
from agent.violations.frequency import Frequency
from agent.violations.smt_off import SmtOff
from agent.violations.turbo_off import TurboOff
from tests.rig import await_true
from traces.errors import PreflightFailed

CGROUPS = Cgroups()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two policies of two cores each, as /sys/devices/system has them."""
    root = tmp_path / "system"
    files = {"cpu/intel_pstate/no_turbo": "0", "cpu/smt/control": "on", "cpu/smt/active": "1"}
    for number, affected in ((0, "0 1"), (2, "2 3")):
        policy = f"cpu/cpufreq/policy{number}"
        files |= {f"{policy}/affected_cpus": affected, f"{policy}/cpuinfo_min_freq": "800000", f"{policy}/cpuinfo_max_freq": "3600000"}
        files |= {f"{policy}/scaling_max_freq": "3600000", f"{policy}/scaling_cur_freq": "1100000"}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    ledger = Ledger(tmp_path / "state")
    yield Context(ledger, CGROUPS, (0,), (0, 1, 2, 3), tmp_path)
    ledger.close()


def said(path: Path) -> str:
    return path.read_text().strip()


def test_only_the_policies_of_the_systems_cores_are_bound_and_put_back(tree: Path, context: Context) -> None:
    first, other = (tree / f"cpu/cpufreq/policy{n}/scaling_max_freq" for n in (0, 2))
    applied = Frequency(tree).apply(1200, {}, context)
    assert (said(first), said(other)) == ("1200000", "3600000")
    assert applied.measure().given == 1200
    (first.with_name("scaling_cur_freq")).write_text("2000000")
    assert applied.measure().given == 2000, "a core that runs beyond the bound is what counts"
    assert applied.undo() == "undone" and applied.undo() == "undone"
    assert said(first) == "3600000"


def test_a_frequency_that_the_processor_does_not_have_is_refused(tree: Path, context: Context) -> None:
    with pytest.raises(PreflightFailed, match="policy0 does 800 to 3600 MHz"):
        Frequency(tree).apply(500, {}, context)
    assert Frequency(tree).probe(CGROUPS, 4).max_dose == 3600


@pytest.mark.parametrize(
    ("violation", "name", "before", "after"), [(TurboOff, "cpu/intel_pstate/no_turbo", "0", "1"), (SmtOff, "cpu/smt/control", "on", "off")]
)
def test_a_switch_is_thrown_and_thrown_back(
    violation: type[TurboOff | SmtOff], name: str, before: str, after: str, tree: Path, context: Context
) -> None:
    made: Violation = violation(tree)
    assert made.probe(CGROUPS, 4).supported
    applied = made.apply(1, {}, context)
    (tree / "cpu/smt/active").write_text("0")
    assert said(tree / name) == after and applied.measure().given == 1
    (tree / name).write_text(before)
    assert applied.measure().given == 0, "somebody has switched it back: the dose is no longer given"
    (tree / name).write_text(after)
    assert applied.undo() == "undone" and said(tree / name) == before


def test_a_value_that_somebody_else_has_put_in_meanwhile_is_left(tree: Path, context: Context) -> None:
    bound = tree / "cpu/cpufreq/policy0/scaling_max_freq"
    applied = Frequency(tree).apply(1200, {}, context)
    bound.write_text("2400000")
    assert applied.undo() == "foreign" and said(bound) == "2400000"


def test_turbo_by_the_boost_file_where_there_is_no_pstate(tree: Path, context: Context) -> None:
    (tree / "cpu/intel_pstate/no_turbo").unlink()
    boost = tree / "cpu/cpufreq/boost"
    boost.write_text("1")
    applied = TurboOff(tree).apply(1, {}, context)
    assert said(boost) == "0" and applied.mechanism == "cpufreq/boost"
    applied.undo()
    assert said(boost) == "1"


def test_a_node_that_cannot_says_why(tmp_path: Path, tree: Path) -> None:
    assert "no cpufreq policies" in Frequency(tmp_path).probe(CGROUPS, 4).reason
    assert "no turbo switch" in TurboOff(tmp_path).probe(CGROUPS, 4).reason
    (tree / "cpu/intel_pstate/no_turbo").write_text("1")
    assert "off on this node already" in TurboOff(tree).probe(CGROUPS, 4).reason
    (tree / "cpu/smt/control").write_text("notsupported")
    assert "says notsupported, and no core has a second thread" in SmtOff(tree).probe(CGROUPS, 4).reason


@pytest.fixture
def threads(tree: Path) -> Path:
    """Cores 0 and 1, whose second threads are 2 and 3, and whose switch is not to be had."""
    (tree / "cpu/smt/control").write_text("notsupported")
    (tree / "cpu/online").write_text("0-3")
    for number in range(4):
        folder = tree / f"cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 2},{number % 2 + 2}\n")
    return tree


def test_second_threads_are_left_idle_where_the_switch_is_not_to_be_had_and_who_uses_them_is_measured(
    threads: Path, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"

    def ran(ticks: int) -> None:
        stat.write_text(f"cpu 0 0\ncpu0 900 0 900 5 5 0 0 0 0 0\ncpu2 {ticks} 0 0 7000 7000 0 0 0 0 0\ncpu20 9000 0 0 0 0 0 0 0 0 0\n")

    now = 100.0
    monkeypatch.setattr("agent.violations.smt_off.time.monotonic", lambda: now)
    ran(0)
    said = SmtOff(threads).probe(CGROUPS, 4)
    assert said.supported and said.fidelity == "proxy" and "others may use the threads" in said.reason
    applied = SmtOff(threads, tmp_path).apply(1, {}, context)
    now = 101.0
    assert applied.measure().given == 1
    ran(int(0.3 * os.sysconf("SC_CLK_TCK")))
    now = 102.0
    busy = applied.measure()
    assert busy.given == pytest.approx(0.7)
    assert busy.remark == "thread 2 left idle by us; others may use them: measured 30% of the last second"
    assert applied.undo() == "undone"


@pytest.mark.parametrize(
    ("target", "load", "words"),
    [((0, 2), (), "the system is on thread 0, which is to be idle"), ((0,), (2,), "the load generator is on thread 2")],
)
def test_a_second_thread_that_we_use_ourselves_is_not_idle(
    target: tuple[int, ...], load: tuple[int, ...], words: str, threads: Path, context: Context
) -> None:
    with pytest.raises(PreflightFailed, match=words):
        SmtOff(threads).apply(1, {}, replace(context, target_cores=target, busy_cores=load))


OWNER = """
    import sys, time
    from pathlib import Path
    from agent.ledger import Ledger
    from agent.scope import Cgroups
    from agent.violations import Context
    from agent.violations.frequency import Frequency
    from agent.violations.turbo_off import TurboOff
    root, state = map(Path, sys.argv[1:])
    context = Context(Ledger(state), Cgroups(), (0, 2), (0, 1, 2, 3), state)
    Frequency(root).apply(1000, {}, context)
    TurboOff(root).apply(1, {}, context)
    print("applied", flush=True)
    time.sleep(1000)
"""


def test_an_owner_that_is_killed_leaves_every_value_as_it_was(tree: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(tree), str(state)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert owner.stdout is not None and owner.stdout.readline() == "applied\n"
    bounds = [tree / f"cpu/cpufreq/policy{n}/scaling_max_freq" for n in (0, 2)]
    assert [said(b) for b in bounds] == ["1000000"] * 2 and said(tree / "cpu/intel_pstate/no_turbo") == "1"
    owner.kill()
    owner.wait()
    assert await_true(lambda: [said(b) for b in bounds] == ["3600000"] * 2 and said(tree / "cpu/intel_pstate/no_turbo") == "0")
    assert await_true(lambda: not list(state.glob("undo/*")))


def test_a_setting_whose_device_has_gone_needs_no_undo(tmp_path: Path) -> None:
    assert run_step({"kind": "setting", "path": str(tmp_path / "gone"), "ours": "1", "old": "0"}) == "undone"


def test_a_driver_that_does_not_obey_is_found_out_and_nothing_stays(tree: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tree / "cpu/cpufreq/policy2/scaling_max_freq"
    write = Path.write_text

    def deaf(path: Path, text: str) -> int:
        return write(path, "3500000" if path == kept and text == "1200000" else text)

    monkeypatch.setattr(Path, "write_text", deaf)
    with pytest.raises(PreflightFailed, match="takes 3500000 instead of 1200000"):
        Frequency(tree).apply(1200, {}, Context(context.ledger, CGROUPS, (0, 2), (0, 1, 2, 3), tree))
    assert said(tree / "cpu/cpufreq/policy0/scaling_max_freq") == "3600000"
