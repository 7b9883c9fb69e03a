"""wrk2: an open loop at a constant rate. Its latency counts from when a request was due, so it holds lateness and service alike.

Its own timers are of whole milliseconds: where no rate at all meets 1 ms, the reason given says its p99 at the least rate tried.
"""

import re

from tests.bench.engine.contestant import GRACE_S, Contestant, Failed, Load, Measured, absent, find, first_line, number, run_generator
from tests.bench.engine.search import highest

SENT_PART, STAGGER_S = 0.95, 0.005
"""It opens a connection each 5 ms. What it did not come to send is not in its latency: without this part the rate does not hold."""
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def quantile_ms(text: str, percent: str) -> float:
    """One line of its `Recorded Latency`. Raises Failed."""
    found = re.search(rf"^\s*{re.escape(percent)}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.M)
    if found is None:
        raise Failed(f"wrk2 printed no {percent}% of its latency")
    return float(found.group(1)) * UNITS_MS[found.group(2)]


class Wrk2:
    def __init__(self, limit_ms: float, paces: bool) -> None:
        self.name = "wrk2"
        self.loop = f"open, corrected latency p99 <= {limit_ms:g} ms"
        self.paces = paces
        self._limit_ms = limit_ms

    def missing(self) -> str | None:
        return absent("wrk2")

    def version(self) -> str:
        return first_line([find("wrk2") or "wrk2", "--version"], r"wrk (\S+)")

    def run(self, load: Load) -> Measured:
        if load.rate_per_s is not None:
            return self._at(load, load.rate_per_s)
        least: Measured | None = None

        def holds(rate: float) -> Measured | None:
            nonlocal least
            measured = self._at(load, rate)
            least = measured if least is None or measured.rate_per_s <= least.rate_per_s else least
            sent = measured.requests >= SENT_PART * rate * (load.seconds - STAGGER_S * load.connections)
            return measured if sent and measured.details["response_p99_ms"] <= self._limit_ms else None

        found = highest(holds, start=10_000, ceiling=2e6)
        if found is None:
            assert least is not None
            raise Failed(f"no rate holds: p99 {least.details['response_p99_ms']:.2f} ms at {least.rate_per_s:,.0f}/s")
        return found[1]

    def _at(self, load: Load, rate: float) -> Measured:
        argv = [find("wrk2") or "wrk2", "-t1", f"-c{load.connections}", f"-d{load.seconds}s", f"-R{round(rate)}", "-L", load.url]
        ended = run_generator(argv, limit_s=load.seconds + GRACE_S)
        details = {f"response_p{percent}_ms": quantile_ms(ended.out, f"{percent}.000") for percent in (50, 99)}
        return Measured(rate, int(number(ended.out, r"(\d+) requests in")), ended.cpu_s, details)


CONTESTANTS: list[Contestant] = [Wrk2(1, paces=True), Wrk2(5, paces=False)]
