"""What a scope reads of the kernel's counts, in the words of both versions of cgroups."""

from pathlib import Path

import pytest

from agent.ledger import Ledger
from agent.scope import Cgroups, Scope


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nr_periods 40\nnr_throttled 30\nthrottled_time 1500000\n", (1_500_000, 30, 40)),
        ("usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 40\nnr_throttled 30\nthrottled_usec 1500\n", (1_500_000, 30, 40)),
        ("usage_usec 7\nuser_usec 4\nsystem_usec 3\n", None),
    ],
)
def test_how_long_a_quota_held_it(text: str, expected: tuple[int, int, int] | None, tmp_path: Path) -> None:
    home = tmp_path / "cgroup" / "cpu"
    home.mkdir(parents=True)
    (home / "cgroup.procs").touch()
    ledger = Ledger(tmp_path / "state")
    scope = Scope("target", ledger, Cgroups(tmp_path / "cgroup"))
    stat = home / "offspec" / ledger.lease / "target" / "cpu.stat"
    stat.write_text(text)
    assert scope.throttled() == expected
    stat.unlink()
    assert scope.end() == "undone"
    ledger.close()
