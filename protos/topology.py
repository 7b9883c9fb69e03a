"""Which processors of a node share what, and where a neighbour lies that is to be so or so close to the system. Pure: agents read it from
the kernel (agent/topology.py), planners get it in a node's inventory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PLACES = ("same-core", "sibling", "same-cache", "same-numa", "other-numa", "other-core", "anywhere")
"""same-core: on the system's own processors. sibling: on the other hardware thread of one of its cores. same-cache: on another core that
shares its last-level cache. same-numa, other-numa: on another core of its memory node, on a core of another node. other-core: on any core
that is not the system's, its siblings left out. anywhere: where the scheduler likes."""


class NoPlace(Exception):
    """There is no such place on this node; str() says why."""


@dataclass(frozen=True)
class Cpu:
    """One logical processor: who shares its core (itself included), who shares its last-level cache, its memory node."""

    id: int
    siblings: tuple[int, ...]
    cache: tuple[int, ...]
    node: int


@dataclass(frozen=True)
class Topology:
    """Online processors by number."""

    cpus: tuple[Cpu, ...] = ()

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(cpu) for cpu in self.cpus]

    @classmethod
    def from_json(cls, raw: Sequence[Mapping[str, Any]]) -> "Topology":
        return cls(tuple(Cpu(int(c["id"]), tuple(c["siblings"]), tuple(c["cache"]), int(c["node"])) for c in raw))

    def cpu(self, number: int) -> Cpu:
        """A processor that the kernel told nothing of stands alone."""
        return next((c for c in self.cpus if c.id == number), Cpu(number, (number,), (number,), 0))


def cores_at(place: str, topology: Topology, target: Sequence[int], allowed: Sequence[int], busy: Sequence[int] = ()) -> tuple[int, ...]:
    """The processors of `allowed` at that place, seen from those of `target`; () for anywhere. Those of `busy` (where the load generator
    runs, which is to be left alone) come last, and one of each core before the second of any. Raises NoPlace.
    """
    if place == "anywhere":
        return ()
    seats = tuple(target) or tuple(allowed[:1])
    if place == "same-core":
        found = [c for c in seats if c in allowed]
        if not found:
            raise NoPlace(f"place same-core: the node lends none of the system's cores ({_list(seats)})")
        return tuple(found)
    seen = [topology.cpu(c) for c in seats]
    beside = {s for cpu in seen for s in cpu.siblings} - set(seats)
    if place == "sibling":
        found = sorted(beside & set(allowed), key=lambda c: (c in busy, c))
        if not found:
            raise NoPlace(f"place sibling: core {_list(seats)} has no second hardware thread to lend (SMT is off or absent)")
        return tuple(found)
    others = [topology.cpu(c) for c in allowed if c not in seats and c not in beside]
    nodes = {cpu.node for cpu in seen}
    caches = {c for cpu in seen for c in cpu.cache}
    match place:
        case "other-core":
            fits, lacking = others, f"the system has every core of the node ({_list(allowed)}); use same-core or anywhere"
        case "same-cache":
            fits, lacking = [c for c in others if c.id in caches], f"no other core shares a last-level cache with core {_list(seats)}"
        case "same-numa":
            fits, lacking = [c for c in others if c.node in nodes], f"no other core is on memory node {_list(sorted(nodes))}"
        case "other-numa":
            fits, lacking = [c for c in others if c.node not in nodes], f"the node has no memory node but {_list(sorted(nodes))} with cores"
        case _:
            raise NoPlace(f"place {place}: unknown; use one of {', '.join(PLACES)}")
    if not fits:
        raise NoPlace(f"place {place}: {lacking}")
    second = {c.id: c.siblings.index(c.id) if c.id in c.siblings else 0 for c in fits}
    return tuple(c.id for c in sorted(fits, key=lambda c: (bool(set(c.siblings) & set(busy)), second[c.id], c.id)))


def _list(cores: Sequence[int]) -> str:
    return ", ".join(map(str, cores))
