"""TCP echo at 100,000 Poisson requests a second: how late they leave, in the seconds that nobody outside disturbed."""

from pathlib import Path

from tests.bench.engine import servers
from tests.bench.engine.contestant import GRACE_S, Failed, Load, Measured
from tests.bench.engine.peers.offspec import Offspec, measured, replay
from tests.bench.engine.race import Plan, Race

RATE_PER_S, BYTES = 100_000.0, 64
SECONDS, LONG_SECONDS = 10, 60


class Echo(Offspec):
    name = "offspec, pipeline 1024"
    loop = f"open, {RATE_PER_S:,.0f}/s"
    paces = False
    driver, pipeline = "tcp", 1024

    def run(self, load: Load) -> Measured:
        """Drift is the median slip of the last whole second less that of the second one. Raises Failed if not all were sent."""
        order = self.order(load, rate_per_s=RATE_PER_S, seconds=load.seconds)
        did = replay(order, load.seconds + 3 * GRACE_S)
        if did["sent"] != did["scheduled"]:
            raise Failed(f"{did['sent']} of {did['scheduled']} sent, {did['timed_out']} timed out, errors {did['errors']}")
        given = measured(did, RATE_PER_S)
        seconds = [each for each in did["seconds"] if each["second"] < load.seconds]
        quiet = [each for each in seconds if each["steal_ns"] == 0]
        given.details.update(sent=did["sent"], completed=did["completed"], seconds=len(seconds), quiet_seconds=len(quiet))
        if quiet:
            given.details.update(quiet_slip_p50_ms=did["quiet_slip_ns"][0] / 1e6, quiet_slip_p99_ms=did["quiet_slip_ns"][1] / 1e6)
        if len(seconds) > 2:
            given.details["drift_ms"] = (seconds[-1]["slip_p50_ns"] - seconds[1]["slip_p50_ns"]) / 1e6
        given.details["end_after_last_due_ms"] = did["overrun_ns"] / 1e6
        return given


def races(plan: Plan, folder: Path) -> list[Race]:
    seconds = LONG_SECONDS if plan.long else SECONDS
    return [Race("TCP echo", f"64 B, 8 connections, {seconds} s", servers.echo, [Echo()], op="write", seconds=seconds)]
