"""HTTP/1.1 GET of a static answer of 128 bytes from nginx."""

from pathlib import Path

from tests.bench.engine import servers
from tests.bench.engine.contestant import Contestant
from tests.bench.engine.peers import ab, h2load, hey, locust, offspec, oha, vegeta, wrk, wrk2
from tests.bench.engine.race import Plan, Race, label

PEERS: list[Contestant] = [
    each for peer in (wrk, h2load, ab, hey, oha, vegeta, locust, wrk2) for each in peer.CONTESTANTS
]  # fmt: skip
CONNECTIONS = (8, 64)


def races(plan: Plan, folder: Path) -> list[Race]:
    contestants = [*offspec.HTTP, *PEERS]
    by_loop = {each.loop: label(each) for each in offspec.HTTP}
    alike = {label(each): by_loop[each.loop.replace("corrected latency", "response")] for each in PEERS}
    return [
        Race(
            "HTTP GET", f"{connections} connections", servers.nginx, contestants, connections,
            paced=[*(each for each in contestants if each.paces), *offspec.HTTP_PACED], pace_by=wrk.CONTESTANTS[0], alike=alike,
            missing=servers.nginx_missing(),
        )
        for connections in CONNECTIONS
    ]  # fmt: skip
