"""Nodes of memory: which there are, how far they are, and a system whose memory is bound to one of them from its start.

Sources: numa(7), set_mempolicy(2), proc_pid_numa_maps(5), Documentation/admin-guide/mm/numaperf.rst. `root` is a seam for tests.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.scope import Scope
from agent.topology import cpu_list
from agent.violations import Reading

SYSTEM = Path("/sys/devices/system")
_THERE = 0.95
"""Of the system's own pages this share must lie where it was bound; the stack's first pages are laid by the kernel before that."""


@dataclass(frozen=True)
class Node:
    """`distances` are to the nodes in the order of `nodes`, 10 to itself (ACPI SLIT)."""

    number: int
    cpus: tuple[int, ...]
    distances: tuple[int, ...]
    memory_bytes: int


def nodes(root: Path = SYSTEM) -> list[Node]:
    """In the order of their numbers; [] where the kernel tells of none."""
    return [_node(path) for path in sorted((root / "node").glob("node[0-9]*"), key=lambda path: int(path.name[4:]))]


def _node(path: Path) -> Node:
    total = re.search(r"MemTotal:\s*(\d+) kB", (path / "meminfo").read_text())
    distances = tuple(map(int, (path / "distance").read_text().split()))
    return Node(int(path.name[4:]), cpu_list((path / "cpulist").read_text()), distances, int(total.group(1)) * 1024 if total else 0)


def farthest(found: Sequence[Node], core: int) -> Node | None:
    """The node with memory that is farthest from a core; None: there is only its own."""
    home = next((node for node in found if core in node.cpus), None)
    if home is None:
        return None
    far = [(distance, node) for distance, node in zip(home.distances, found, strict=False) if node is not home and node.memory_bytes]
    return max(far, key=lambda each: each[0])[1] if far else None


def slow_tier(found: Sequence[Node]) -> Node | None:
    """A node that has memory and no processor: CXL or persistent memory, which the kernel shows so; None where there is none."""
    return next((node for node in found if not node.cpus and node.memory_bytes), None)


def share_on(node: int, maps: str) -> tuple[int, int]:
    """(bytes on the node, bytes in all) of a process's own memory, by the text of its numa_maps."""
    there = everywhere = 0
    for line in maps.splitlines():
        if " anon=" not in line or " file=" in line:
            continue
        size = re.search(r"kernelpagesize_kB=(\d+)", line)
        page = (int(size.group(1)) if size else 4) * 1024
        for number, pages in re.findall(r" N(\d+)=(\d+)", line):
            everywhere += int(pages) * page
            there += int(pages) * page * (int(number) == node)
    return there, everywhere


class Bound:
    """A system that starts with its memory on one node."""

    mechanism = "set_mempolicy, bound from the start"
    fidelity = "exact"
    env: Mapping[str, str] = {}

    def __init__(self, scope: Scope, node: int) -> None:
        self._scope = scope
        self._node = node
        self.prelude: Sequence[Mapping[str, Any]] = ({"step": "bind-memory", "node": node},)

    def measure(self) -> Reading:
        there = everywhere = 0
        for pid in self._scope.members():
            with contextlib.suppress(OSError):  # ended meanwhile
                on, of = share_on(self._node, Path(f"/proc/{pid}/numa_maps").read_text())
                there, everywhere = there + on, everywhere + of
        return Reading(float(there >= _THERE * everywhere) if everywhere else None, "numa_maps")

    def undo(self) -> str:
        return "undone"  # it ends with the processes that were started under it
