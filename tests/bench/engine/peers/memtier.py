"""memtier_benchmark, one request or sixteen in flight on a connection. Its rate is per connection.

Its count is divided by the seconds asked: the duration that some of its versions report, and divide by, is off by a second.
"""

import json
import tempfile
from pathlib import Path

from tests.bench.engine.contestant import GRACE_S, Contestant, Failed, Load, Measured, absent, find, first_line, run_generator
from tests.bench.engine.peers.keys import KEYS, VALUE_BYTES


class Memtier:
    loop = "closed"

    def __init__(self, pipeline: int) -> None:
        self.name = f"memtier_benchmark --pipeline {pipeline}"
        self.paces = pipeline == 1
        self._pipeline = pipeline

    def missing(self) -> str | None:
        return absent("memtier_benchmark")

    def version(self) -> str:
        return first_line([find("memtier_benchmark") or "memtier_benchmark", "--version"], r"memtier_benchmark v?=?\s*(\S+)")

    def run(self, load: Load) -> Measured:
        argv = [find("memtier_benchmark") or "memtier_benchmark", "-s", load.host, "-p", str(load.port), "-P", "redis", "-t", "1"]
        argv += ["-c", str(load.connections), "--pipeline", str(self._pipeline), "--test-time", str(load.seconds), "-d", str(VALUE_BYTES)]
        argv += ["--ratio", "0:1" if load.op == "get" else "1:0", "--key-maximum", str(KEYS), "--key-minimum", "1", "--hide-histogram"]
        if load.rate_per_s is not None:
            argv += ["--rate-limiting", str(max(1, round(load.rate_per_s / load.connections)))]
        with tempfile.TemporaryDirectory(prefix="offspec-bench-") as folder:
            told = Path(folder) / "told.json"
            ended = run_generator([*argv, "--json-out-file", str(told)], limit_s=load.seconds + GRACE_S)
            try:
                said = json.loads(told.read_text())["ALL STATS"]["Totals"]
                return Measured(int(said["Count"]) / load.seconds, int(said["Count"]), ended.cpu_s)
            except (OSError, ValueError, KeyError) as error:
                raise Failed(f"memtier_benchmark wrote no figures: {error}") from error


CONTESTANTS: list[Contestant] = [Memtier(1), Memtier(16)]
