"""redis-benchmark, one request or sixteen in flight on a connection. Knows no rate."""

from tests.bench.engine.contestant import GRACE_S, Contestant, Load, Measured, absent, find, first_line, number, run_generator
from tests.bench.engine.peers.keys import KEYS, VALUE_BYTES

FIRST = 50_000
"""Requests of the run that finds how many the measured one must send to last long enough: it takes a count and no time."""


class RedisBenchmark:
    loop = "closed"
    paces = False

    def __init__(self, pipeline: int) -> None:
        self.name = f"redis-benchmark -P {pipeline}"
        self._pipeline = pipeline

    def missing(self) -> str | None:
        return absent("redis-benchmark")

    def version(self) -> str:
        return first_line([find("redis-benchmark") or "redis-benchmark", "--version"], r"redis-benchmark (\S+)")

    def run(self, load: Load) -> Measured:
        expected = self._sends(load, FIRST).rate_per_s
        return self._sends(load, max(FIRST, round(expected * load.seconds)))

    def _sends(self, load: Load, requests: int) -> Measured:
        argv = [find("redis-benchmark") or "redis-benchmark", "-h", load.host, "-p", str(load.port), "-c", str(load.connections)]
        argv += ["-n", str(requests), "-t", load.op, "-P", str(self._pipeline), "-r", str(KEYS), "-d", str(VALUE_BYTES), "-q"]
        ended = run_generator(argv, limit_s=3 * load.seconds + GRACE_S)
        rate = number(ended.out.replace("\r", "\n"), rf"{load.op.upper()}: ([\d.]+) requests per second")
        return Measured(rate, requests, ended.cpu_s)


CONTESTANTS: list[Contestant] = [RedisBenchmark(1), RedisBenchmark(16)]
