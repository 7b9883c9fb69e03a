"""One attempt's record and tables -> its entry in the document of a run."""

from collections import Counter
from pathlib import Path
from typing import Any

from controller.analysis.doses import dose_summaries, workload_dose_summaries
from controller.analysis.hdr import Histogram
from controller.analysis.tables import histograms, read_table
from controller.attempts import AskedViolation, AttemptRecord
from protos.violations import CATALOGUE

_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}
_COUNTS = ("scheduled", "completed", "timed_out", "dropped", "unsent")


def trial_entry(record: AttemptRecord, run_dir: Path, goodput_us: float | None) -> dict[str, Any]:
    """Counts and quantiles of the measured phase, all agents and ops together. A figure that is not there is null."""
    intervals = read_table(run_dir, "intervals", record.trial, record.attempt)
    measured = [row for row in intervals.to_pylist() if row["phase"] == "measure"]
    counts = {name: sum(row[name] for row in measured) for name in _COUNTS}
    errors: Counter[str] = Counter()
    for row in measured:
        errors.update(dict(row["errors"]))
    hdr = histograms(read_table(run_dir, "histograms", record.trial, record.attempt))
    seconds = record.measure_s
    cpu_ns = record.target.get("cpu_ns")
    good = None
    if goodput_us is not None and measured:
        good = hdr["response"].share_at_or_below(goodput_us * 1000) * hdr["response"].total / seconds
    return {
        "id": record.trial,
        "variant": record.variant,
        "condition": record.condition,
        "repeat": record.repeat,
        "attempt": record.attempt,
        "block": record.block,
        "order": record.order,
        "target_agent": record.target_agent,
        "load_agents": list(record.load_agents),
        "verdict": record.verdict,
        "reasons": list(record.reasons),
        "outcome": record.outcome,
        "evidence": list(record.evidence),
        "failure_class": record.failure_class,
        "scheduled": counts["scheduled"],
        "completed": counts["completed"],
        "errors": dict(sorted(errors.items())),
        "timed_out": counts["timed_out"],
        "dropped": counts["dropped"],
        "unsent": counts["unsent"],
        "rate_due_per_s": round(counts["scheduled"] / seconds, 3),
        "rate_done_per_s": round(counts["completed"] / seconds, 3),
        "goodput_per_s": None if good is None else round(good, 3),
        "slip_us": quantiles_us(hdr["slip"], 0),
        "service_us": quantiles_us(hdr["service"], 0),
        "response_us": quantiles_us(hdr["response"], counts["timed_out"]),
        "cpu_s": None if cpu_ns is None else round(cpu_ns / 1e9, 6),
        "requests_per_cpu_s": round(counts["completed"] / (cpu_ns / 1e9), 3) if cpu_ns and counts["completed"] else None,
        "foreign": record.target.get("foreign"),
        "saturated": any(s.get("saturated") for s in record.self_check.values()),
        "dose": _doses(record, run_dir),
        "cleanup": _cleanup(record),
    }


_DIRTIER = ("clean", "unknown", "dirty")


def _cleanup(record: AttemptRecord) -> dict[str, Any]:
    """Over all agents of the trial: the worst verdict, what is left behind and what else has changed meanwhile, by agent."""
    found = record.cleanup
    return {
        "verdict": max((f["verdict"] for f in found.values()), key=_DIRTIER.index, default="unknown"),
        "left": [f"{agent}: {what}" for agent, f in found.items() for what in f["left"]],
        "changed": [f"{agent}: {what}" for agent, f in found.items() for what in f["changed"]],
    }


def _doses(record: AttemptRecord, run_dir: Path) -> list[dict[str, Any]]:
    """Those given on a node from their table, those of the workload as they were read back from its trace."""
    found = dose_summaries(run_dir, record.trial, record.attempt, record.warmup_s, record.measure_s)
    for dose in found:
        dose["remarks"] += [record.summaries[dose["violation"]]] if dose["violation"] in record.summaries else []
    for dose in workload_dose_summaries(record.violations, record.workload_doses):
        off = record.off_nominal.get(dose["violation"])
        found.append(dose if off is None else dose | {"off_nominal": off})
    told = {d["violation"] for d in found}
    return found + [_untold(asked, record.target_agent) for asked in record.violations if asked.name not in told]


def _untold(asked: AskedViolation, target_agent: str) -> dict[str, Any]:
    """A dose without readings: it is where the trial ran that gives it, or nobody knows."""
    placed = CATALOGUE[asked.name].stage == "place"
    return {
        "violation": asked.name,
        "unit": asked.unit,
        "asked": asked.dose,
        "mechanism": f"on node {target_agent}" if placed else "",
        "fidelity": "exact" if placed else "",
        "measured": 1.0 if placed else None,
        "coverage": 1.0 if placed else 0.0,
        "verdict": "confirmed" if placed else "inconclusive",
        "remarks": [],
    }


def quantiles_us(histogram: Histogram, censored: int) -> dict[str, float | None]:
    """Microseconds. `censored` requests timed out: a quantile that lies among them is no number, but null."""
    found: dict[str, float | None] = {}
    n = histogram.total
    for name, q in _QUANTILES.items():
        rank = q * (n + censored) / n if n else 2.0
        value = histogram.quantile(rank) if rank <= 1 else None
        found[name] = None if value is None else round(value / 1000, 3)
    return found
