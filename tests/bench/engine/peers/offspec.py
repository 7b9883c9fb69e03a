"""The engine itself, in a child of its own: closed loop, and open loop at Poisson arrivals under each criterion.

A rate holds when every request completed, the quantile is within its limit, and the run ended soon after its last request was due:
without the last, a run too short for its queue to reach the timeout would pass above what the server can do.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tests.bench.engine.contestant import GENERATOR_CORE, GRACE_S, Contestant, Failed, Load, Measured, run_generator
from tests.bench.engine.engine_child import Order
from tests.bench.engine.peers.keys import VALUE_BYTES
from tests.bench.engine.search import highest

FIRST = 50_000
TAIL_NS, TAIL_PART = 20_000_000, 0.01
"""How late a run that kept up may end after its last due: the greater of the two."""
START_PER_S, MOST_PER_S = 20_000.0, 2e7


def replay(order: Order, limit_s: float) -> dict[str, Any]:
    """What engine_child.Did holds, as JSON has it. Raises Failed."""
    ended = run_generator([sys.executable, "-m", "tests.bench.engine.engine_child"], limit_s=limit_s, feed=json.dumps(asdict(order)))
    did: dict[str, Any] = json.loads(ended.out[ended.out.index("{") : ended.out.rindex("}") + 1])
    return did


def measured(did: Mapping[str, Any], rate: float) -> Measured:
    details = {
        f"{kind}_p{name}_ms": did[f"{kind}_ns"][place] / 1e6 for kind in ("slip", "response") for place, name in enumerate(("50", "99"))
    }
    if did["misses"]:
        details["misses_part"] = did["misses"] / did["completed"]
    details["engine_thread_cpu_s_per_million"] = did["cpu_s"] / max(1, did["completed"]) * 1e6
    return Measured(rate, did["completed"], did["rusage_s"], details)


def kept_up(did: Mapping[str, Any], seconds: float) -> bool:
    return bool(did["completed"] == did["scheduled"] and did["overrun_ns"] <= max(TAIL_NS, seconds * 1e9 * TAIL_PART))


class Offspec:
    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        from agent import _engine

        return _engine.__version__

    def order(self, load: Load, **more: Any) -> Order:
        req_bytes = VALUE_BYTES if load.op == "set" else 0
        return Order(self.driver, load.host, load.port, load.connections, self.pipeline, seed=load.seed, op=load.op,
                     req_bytes=req_bytes, **{"cores": (GENERATOR_CORE,), **more})  # fmt: skip

    driver: str
    pipeline: int


class OpenLoop(Offspec):
    """`kind` slip or response: whose p99 is held to `limit_ms`. `called`: what its requests are, if not constant."""

    def __init__(
        self, driver: str, pipeline: int, kind: str, limit_ms: float, *, paces: bool = True, called: str = "", trace: str | None = None
    ) -> None:
        self.name = f"offspec, pipeline {pipeline}" + (f", {called}" if called else "")
        self.loop = f"open, {kind} p99 <= {limit_ms:g} ms"
        self.driver, self.pipeline, self.paces = driver, pipeline, paces
        self._kind, self._limit_ns, self._trace = kind, limit_ms * 1e6, trace

    def run(self, load: Load) -> Measured:
        if load.rate_per_s is not None:
            return measured(self._at(load, load.rate_per_s), load.rate_per_s)
        worst: dict[str, Any] = {}

        def holds(rate: float) -> Measured | None:
            did = self._at(load, rate)
            if kept_up(did, load.seconds) and did[f"{self._kind}_ns"][1] <= self._limit_ns:
                return measured(did, rate)
            worst.update(did, rate=rate)
            return None

        found = highest(holds, start=START_PER_S, ceiling=MOST_PER_S)
        if found is None:
            raise Failed(
                f"no rate holds: at {worst['rate']:,.0f}/s {worst['completed']} of {worst['scheduled']} completed, {self._kind} p99 "
                f"{worst[f'{self._kind}_ns'][1] / 1e6:.2f} ms, {worst['overrun_ns'] / 1e6:.0f} ms over, errors {worst['errors']}"
            )
        return found[1]

    def _at(self, load: Load, rate: float) -> dict[str, Any]:
        order = self.order(load, rate_per_s=rate, seconds=load.seconds, trace=self._trace)
        return replay(order, 2 * load.seconds + 2 * GRACE_S)


class Sleeping(OpenLoop):
    """No core of its own, no spinning before a deadline: what a request costs when the engine need not be exact. Only paced."""

    def __init__(self, driver: str, pipeline: int) -> None:
        super().__init__(driver, pipeline, "slip", 1)
        self.name += ", sleeping"

    def order(self, load: Load, **more: Any) -> Order:
        return super().order(load, cores=(), spin_us=0, **more)


class ClosedLoop(Offspec):
    """As many in flight as the connections hold at `depth` each."""

    paces = False
    loop = "closed"

    def __init__(self, driver: str, depth: int) -> None:
        self.name = f"offspec, pipeline {depth}"
        self.driver, self.pipeline = driver, depth

    def run(self, load: Load) -> Measured:
        did = self._sends(load, FIRST)
        did = self._sends(load, max(FIRST, round(did["completed"] / did["wall_s"] * load.seconds)))
        if did["completed"] != did["scheduled"]:
            raise Failed(f"{did['completed']} of {did['scheduled']} completed, errors {did['errors']}")
        return measured(did, did["completed"] / did["wall_s"])

    def _sends(self, load: Load, requests: int) -> dict[str, Any]:
        order = self.order(load, requests=requests, window=load.connections * self.pipeline)
        return replay(order, 3 * load.seconds + 2 * GRACE_S)


HTTP: list[Contestant] = [
    OpenLoop("http", 1, "slip", 1),
    OpenLoop("http", 1, "response", 1, paces=False),
    OpenLoop("http", 1, "response", 5, paces=False),
    ClosedLoop("http", 1),
]
HTTP_PACED: list[Contestant] = [Sleeping("http", 1)]
RESP: list[Contestant] = [
    OpenLoop("redis", 1, "slip", 1),
    OpenLoop("redis", 1024, "slip", 1),
    OpenLoop("redis", 1024, "response", 1, paces=False),
    ClosedLoop("redis", 1),
    ClosedLoop("redis", 16),
]
RESP_PACED: list[Contestant] = [Sleeping("redis", 1024)]
