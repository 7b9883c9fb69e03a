"""The document of a run: what `run --json` and `report --json` print, and what the report is made of. Its shape is kept stable."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.analysis.findings import findings, stopping
from controller.analysis.outcomes import outcomes
from controller.analysis.retention import retentions
from controller.analysis.sequential import looks_of
from controller.analysis.tables import by_second, read_table
from controller.analysis.trial import trial_entry
from controller.analysis.workloads import workloads_off_nominal
from controller.attempts import AttemptRecord
from controller.campaign import Design, FallsBack, Objectives
from protos.violations import CATALOGUE

SCHEMA_VERSION = 1


def build_document(
    *,
    run: str,
    campaign: str,
    records: Sequence[AttemptRecord],
    run_dir: Path,
    objectives: Objectives,
    design: Design,
    looks: Sequence[Mapping[str, Any]] = (),
    falls_back: Sequence[FallsBack] = (),
) -> dict[str, Any]:
    """{run, campaign, trials, scores, findings} and a few keys more. Every attempt is in `trials`, also those not believed.

    `falls_back`: the system's signs of another path. `looks` are those made of a run that may end early (controller.analysis.sequential),
    as the journal has them.
    """
    goodput_us = objectives.goodput_us
    # CPU time of two machines cannot be compared, so on another one what a request costs says nothing of the path that it took.
    moved = {r.condition for r in records if any(CATALOGUE[v.name].stage == "place" for v in r.violations)}
    hardware = {r.condition for r in records if any(v.axis == "hardware" for v in r.violations)} - moved
    entries = outcomes([trial_entry(record, run_dir, goodput_us) for record in records], hardware, falls_back)
    scores = retentions(entries, _seconds_of(records, run_dir, goodput_us), looks_of(design))
    return {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "campaign": campaign,
        "goodput_within_us": goodput_us,
        "trials": entries,
        "scores": [score.to_json() for score in scores],
        "workloads": workloads_off_nominal(entries),
        "looks": [dict(each) for each in looks],
        "looks_allowed": looks_of(design),
        "findings": [*findings(entries, scores), *stopping(design, looks)],
    }


def _seconds_of(
    records: Sequence[AttemptRecord], run_dir: Path, goodput_us: float | None
) -> Callable[[Mapping[str, Any], str], Sequence[float]]:
    """An entry's figure for each measured second, where seconds are all that varies."""
    known = {(r.trial, r.attempt): r for r in records}

    def seconds(entry: Mapping[str, Any], metric: str) -> list[float]:
        record = known[entry["id"], entry["attempt"]]
        table = read_table(run_dir, "histograms", record.trial, record.attempt)
        parts = [h for second, h in by_second(table, "response").items() if second >= record.warmup_s and h.total]
        match metric:
            case "response_p50" | "response_p99":
                q = 0.5 if metric == "response_p50" else 0.99
                return [float(h.quantile(q) or 0) for h in parts]
            case "goodput" if goodput_us is not None:
                return [h.share_at_or_below(goodput_us * 1000) for h in parts]
            case _:
                return []

    return seconds
