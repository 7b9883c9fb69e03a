"""RESP GET and SET of 64 bytes; the keys are stored."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.engine import servers
from tests.bench.engine.contestant import Contestant
from tests.bench.engine.peers import memtier, offspec, redis_benchmark
from tests.bench.engine.peers.keys import constant_keys
from tests.bench.engine.race import Plan, Race, label

PEERS: list[Contestant] = [*redis_benchmark.CONTESTANTS, *memtier.CONTESTANTS]


@contextmanager
def stored() -> Iterator[int]:
    with servers.redis() as port:
        servers.store(port, constant_keys())
        yield port


def races(plan: Plan, folder: Path) -> list[Race]:
    contestants = [*offspec.RESP, *PEERS]
    depths = {each.name.rsplit(" ", 1)[1]: label(each) for each in offspec.RESP if each.loop == "closed"}
    alike = {label(each): depths[each.name.rsplit(" ", 1)[1]] for each in PEERS}
    return [
        Race(
            "Redis", f"{op.upper()} of 64 B, 8 connections", stored, contestants, op=op,
            paced=[*(each for each in contestants if each.paces), *offspec.RESP_PACED], pace_by=redis_benchmark.CONTESTANTS[0],
            alike=alike, missing=servers.redis_missing(),
        )
        for op in ("get", "set")
    ]  # fmt: skip
