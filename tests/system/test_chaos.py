"""SIGKILL at random instants to whoever has to do with a violation: after ten seconds at most the machine is as it was before."""

import os
from pathlib import Path

import pytest

from agent.scope import Cgroups
from tests.system.chaos import Tally, one_campaign_run, one_node_run

pytestmark = pytest.mark.skipif(
    Cgroups().version == 0 or len(os.sched_getaffinity(0)) < 2, reason="wants root (or a delegated cgroup) and two cores"
)


def node_runs(tmp_path: Path, seeds: range) -> Tally:
    tally = Tally()
    for seed in seeds:
        one_node_run(tmp_path / f"s{seed}", seed, tally)
    print(tally)
    return tally


def test_killed_at_random_a_machine_is_as_it_was(tmp_path: Path) -> None:
    tally = node_runs(tmp_path, range(8))
    assert tally.leaks == []
    assert tally.in_force >= 3, f"too little was in force to prove anything: {tally}"


@pytest.mark.long
@pytest.mark.timeout(1700)
def test_killed_at_random_two_hundred_times_a_machine_is_as_it_was(tmp_path: Path) -> None:
    tally = node_runs(tmp_path, range(1000, 1190))
    assert tally.leaks == []
    assert tally.in_force >= 100, f"too little was in force to prove anything: {tally}"


@pytest.mark.long
@pytest.mark.timeout(1700)
def test_whoever_of_a_campaign_is_killed_a_machine_is_as_it_was(tmp_path: Path) -> None:
    tally = Tally()
    for seed in range(2000, 2010):
        one_campaign_run(tmp_path / f"s{seed}", seed, tally)
    print(tally)
    assert tally.leaks == []
    assert tally.in_force >= 4, f"too little was in force to prove anything: {tally}"
