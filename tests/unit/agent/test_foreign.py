"""What of a core's time is somebody else's."""

from pathlib import Path

import pytest

from agent import foreign
from agent.scope import Cgroups


def machine(root: Path, ticks: int, ours_ns: int) -> tuple[Path, Cgroups]:
    """A kernel of two cores whose cgroups are version 1."""
    proc, cgroup = root / "proc", root / "cgroup"
    for name in ("cpu", "cpuacct"):
        (cgroup / name / "offspec/lease").mkdir(parents=True, exist_ok=True)
        (cgroup / name / "cgroup.procs").touch()
    proc.mkdir(exist_ok=True)
    (proc / "stat").write_text(f"cpu  9 9 9 9\ncpu0 {ticks} 1 2 500 9 900 900 0 0 0\ncpu1 777 0 0 1 0 0 0 0 0 0\nctxt 1\n")
    (cgroup / "cpuacct/offspec/lease/cpuacct.usage_percpu").write_text(f"{ours_ns} 123456789 \n")
    return proc, Cgroups(cgroup)


def test_what_is_ours_is_not_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {1})
    now = [0]
    monkeypatch.setattr("time.monotonic_ns", lambda: now[0])
    proc, cgroups = machine(tmp_path, 100, 5_000_000_000)
    before = foreign.read({0}, cgroups, "lease", proc)
    now[0] = 2_000_000_000
    machine(tmp_path, 250, 6_000_000_000)  # 1.5 s busy, of which 1 s ours
    assert foreign.share(before, foreign.read({0}, cgroups, "lease", proc)) == pytest.approx(0.25)
    machine(tmp_path, 190, 6_000_000_000)  # the tick saw less than there was
    assert foreign.share(before, foreign.read({0}, cgroups, "lease", proc)) == 0


def test_where_nobody_counts_there_is_no_share(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu0 1 1 1 1\n")
    assert foreign.read({0}, Cgroups(tmp_path / "none"), "lease", tmp_path) is None
    assert foreign.share(None, None) is None
