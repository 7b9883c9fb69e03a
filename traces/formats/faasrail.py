"""FaaSRail's specifications, csv: a day of Azure Functions shrunk to some minutes, each class of functions mapped to a FunctionBench
workload: avg (ms, of the Azure function), mapped_wreq (JSON: bench, mean ms, payload), then a column of invocations for each minute of the
experiment, named by the minutes of the day that it stands for (1-288).

Minutes are spread by the rule of `traces.formats.minute_counts` with the options `seed` and `mode` (poisson, equidistant, start); the
entity is the benchmark, the slot the experiment's minute. The service time is `avg`; payloads, which name the authors' hosts, are left out.
https://github.com/cslab-ntua/faasrail; Katsakioris et al., HPDC 2024
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import stream
from traces.errors import InvalidInput
from traces.formats.delimited import csv_batches, csv_header, required
from traces.formats.made import mode_of, seed_of
from traces.formats.minute_counts import arrivals_of, counts_of, entities_of, fitting
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import first_row
from traces.schema import TraceMeta
from traces.stream import Trace

NAMES = ("avg", "mapped_wreq")
MINUTE_NS = 60 * 10**9
_MINUTES = re.compile(r"\d+(-\d+)?")
_LONGEST_MS = 10**12


class FaasRail:
    name = "faasrail"
    summary = "FaaSRail specification csv: counts per minute of mapped functions made invocations (seed, mode)"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if tuple(first_row(head)[:2]) == NAMES else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("seed", "mode"), self.name)
        mode, seed = mode_of(path, options), seed_of(path, options)
        header = csv_header(path)
        minutes = [name for name in header if _MINUTES.fullmatch(name)]
        if not minutes or len(set(header)) < len(header) or not set(NAMES) <= set(header):
            raise InvalidInput(
                f"{path}: line 1: expected {', '.join(NAMES)} and a column for each minute, such as 1-288; name another --format"
            )
        meta = TraceMeta(
            kinds=("faas",),
            importer=self.name,
            arrival_model="expanded",
            expand_mode=mode,
            expand_seed=seed,
            license="Apache-2.0",
            shareable="attribution",
            citation="Katsakioris et al., FaaSRail, HPDC 2024",
            loss_notes=f"counts of minutes are spread as {mode}: what happened within a minute is not recorded",
        )
        return file_trace(path, meta, lambda: _read(path, minutes, seed, mode), options, origin_ns=0)


def _read(path: Path, minutes: list[str], seed: int, mode: str) -> Iterator[Chunk]:
    benches: list[str] = []
    took: list[int] = []

    def lots() -> Iterator[npt.NDArray[np.int64]]:
        done = 0
        for batch in csv_batches(path, {"avg": pa.float64(), "mapped_wreq": pa.utf8(), **dict.fromkeys(minutes, pa.int64())}):
            for row, (ms, text) in enumerate(
                zip(*(required(batch, name, path, done).to_pylist() for name in NAMES), strict=True), done + 2
            ):
                if not 0 <= ms <= _LONGEST_MS:
                    raise InvalidInput(f"{path}: line {row}: avg {ms}; expected milliseconds from 0; correct the line")
                took.append(round(ms * 10**6))
                benches.append(_bench(text, f"{path}: line {row}"))
            lot = np.stack([required(batch, name, path, done).to_numpy() for name in minutes], axis=1)
            fitting(lot, minutes, path, done)
            done += batch.num_rows
            yield lot

    counts = counts_of(lots(), np.arange(1, len(minutes) + 1))
    counts.refuse_fullest(path)
    keys = np.array([stream(seed, entity, "arrival") for entity in entities_of(benches)], dtype=np.uint64)
    targets, services = pa.array(benches, pa.utf8()).dictionary_encode(), np.array(took, dtype=np.int64)
    for lot in arrivals_of(counts, keys, MINUTE_NS, mode):
        yield {
            "arrival_ns": lot.arrival_ns - MINUTE_NS,  # slots count from 1
            "kind": "faas",
            "op": "invoke",
            "target": targets.take(pa.array(lot.row)),
            "service_ns": services[lot.row],
        }


def _bench(text: str, where: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    bench = found.get("bench") if isinstance(found, dict) else None
    if not isinstance(bench, str) or not bench.isprintable():
        raise InvalidInput(f"{where}: mapped_wreq {text[:40]!r}; expected a JSON object with a bench; correct the line")
    return bench


FORMAT = FaasRail()
