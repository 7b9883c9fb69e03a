"""vegeta: its maximum with as many workers as connections, or a constant rate. Its results are written and then read for the figures."""

import json
import subprocess
import tempfile
from pathlib import Path

from tests.bench.engine.contestant import GRACE_S, Contestant, Failed, Load, Measured, absent, find, first_line, run_generator


class Vegeta:
    name = "vegeta"
    loop = "closed"
    paces = True

    def missing(self) -> str | None:
        return absent("vegeta")

    def version(self) -> str:
        """Of the module; -version is empty in what `go install` builds."""
        return first_line(["go", "version", "-m", find("vegeta") or "vegeta"], r"\bmod\s+\S+\s+(\S+)")

    def run(self, load: Load) -> Measured:
        vegeta, workers = find("vegeta") or "vegeta", str(load.connections)
        rate = "0" if load.rate_per_s is None else f"{round(load.rate_per_s)}/1s"
        with tempfile.TemporaryDirectory(prefix="offspec-bench-") as folder:
            results = str(Path(folder) / "results")
            argv = [vegeta, "-cpus", "1", "attack", "-rate", rate, "-duration", f"{load.seconds}s", "-workers", workers]
            argv += ["-max-workers", workers, "-connections", workers, "-max-connections", workers, "-output", results]
            ended = run_generator(argv, limit_s=load.seconds + GRACE_S, feed=f"GET {load.url}\n")
            try:
                told = subprocess.run([vegeta, "report", "-type", "json", results], capture_output=True, timeout=3 * GRACE_S, check=True)
                said = json.loads(told.stdout)
                return Measured(float(said["throughput"]), int(said["status_codes"]["200"]), ended.cpu_s)
            except (subprocess.SubprocessError, ValueError, KeyError) as error:
                raise Failed(f"vegeta report: {error}") from error


CONTESTANTS: list[Contestant] = [Vegeta()]
