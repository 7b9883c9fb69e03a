"""Nodes of memory on a made tree: which is far, which is slow, and where pages are said to lie."""

import sys
import time
from pathlib import Path

import pytest

from agent import numa
from agent.launcher import LaunchFailed, spawn
from agent.numa import farthest, nodes, share_on, slow_tier
from agent.scope import Cgroups
from agent.violations.memory_tier import MemoryTier
from agent.violations.numa_remote import NumaRemote

CGROUPS = Cgroups()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two sockets, and memory without processors behind the second."""
    for number, cpus, distance, kib in ((0, "0-3", "10 21 38", 1000), (1, "4-7", "21 10 20", 1000), (2, "", "38 20 10", 5000)):
        path = tmp_path / "node" / f"node{number}"
        path.mkdir(parents=True)
        (path / "cpulist").write_text(f"{cpus}\n")
        (path / "distance").write_text(f"{distance}\n")
        (path / "meminfo").write_text(f"Node {number} MemTotal:       {kib} kB\nNode {number} MemFree: 3 kB\n")
    return tmp_path


def test_the_farthest_node_is_seen_from_the_core(tree: Path) -> None:
    found = nodes(tree)
    assert [node.memory_bytes for node in found] == [1_024_000, 1_024_000, 5_120_000]
    assert [farthest(found, core).number for core in (0, 5)] == [2, 0]  # type: ignore[union-attr]
    assert farthest(found[:1], 0) is None and farthest(found, 99) is None
    slow = slow_tier(found)
    assert slow is not None and slow.number == 2 and slow_tier(found[:2]) is None


def test_a_node_that_cannot_says_why(tree: Path, tmp_path: Path) -> None:
    assert NumaRemote(tree).probe(CGROUPS, 8).supported and MemoryTier(tree).probe(CGROUPS, 8).supported
    assert "one NUMA node" in NumaRemote(tmp_path / "none").probe(CGROUPS, 8).reason
    assert "without processors" in MemoryTier(tmp_path / "none").probe(CGROUPS, 8).reason


def test_only_the_systems_own_pages_count_in_their_size() -> None:
    maps = (
        "7f00 bind:1 anon=3 dirty=3 N0=1 N1=2 kernelpagesize_kB=4\n"
        "7f10 bind:1 anon=1 dirty=1 N1=1 kernelpagesize_kB=2048\n"
        "7f20 default file=/lib/libc.so mapped=9 N0=9 kernelpagesize_kB=4\n"
        "7f30 default file=/lib/libc.so anon=2 N0=2 kernelpagesize_kB=4\n"
    )
    assert share_on(1, maps) == (2 * 4096 + (2 << 20), 3 * 4096 + (2 << 20))


def test_a_program_starts_with_its_memory_bound_to_a_node() -> None:
    here = nodes()
    if not here or not Path("/proc/self/numa_maps").exists():
        pytest.skip("this kernel has no NUMA")
    child = spawn([sys.executable, "-c", "import time; time.sleep(60)"], env={}, prelude=({"step": "bind-memory", "node": here[0].number},))
    try:
        time.sleep(0.2)
        maps = Path(f"/proc/{child.pid}/numa_maps").read_text()
        assert f" bind:{here[0].number} " in maps
        there, everywhere = numa.share_on(here[0].number, maps)
        assert 0 < there <= everywhere
    finally:
        child.process.kill()
        child.process.wait()


def test_a_node_that_is_not_there_is_one_line() -> None:
    with pytest.raises(LaunchFailed, match="memory of node 63: Invalid argument"):
        spawn(["true"], env={}, prelude=({"step": "bind-memory", "node": 63},))
