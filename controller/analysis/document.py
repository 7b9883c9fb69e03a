"""The document of a run: what `run --json` and `report --json` print, and what the report is made of. Its shape is kept stable."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.analysis.findings import findings
from controller.analysis.retention import retentions
from controller.analysis.tables import by_second, read_table
from controller.analysis.trial import trial_entry
from controller.attempts import AttemptRecord
from controller.campaign import Objectives

SCHEMA_VERSION = 1


def build_document(*, run: str, campaign: str, records: Sequence[AttemptRecord], run_dir: Path, objectives: Objectives) -> dict[str, Any]:
    """{run, campaign, trials, scores, findings} and a few keys more. Every attempt is in `trials`, also those not believed."""
    goodput_us = objectives.goodput_us
    entries = [trial_entry(record, run_dir, goodput_us) for record in records]
    scores = retentions(entries, _seconds_of(records, run_dir, goodput_us))
    return {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "campaign": campaign,
        "goodput_within_us": goodput_us,
        "trials": entries,
        "scores": [score.to_json() for score in scores],
        "findings": findings(entries, scores),
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
