"""Doses asked and given: one summary a violation and trial, over its measured seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from controller.analysis.tables import read_table
from controller.attempts import AskedViolation
from protos.violations import CATALOGUE, ViolationSpec

_CONFIRMED, _PARTIAL = 0.9, 0.5
_SWAPPED_MIB = 1.0
MOST_LATE_MS = 50.0
"""A dose over time that changes later than this after its time was not right in that second."""


def dose_summaries(run_dir: Path, trial: str, attempt: int, warmup_s: int, measure_s: int) -> list[dict[str, Any]]:
    """violation, unit, asked, mechanism, fidelity, measured (mean; null if never read), p5, p95, cpu_percent (mean of what the
    neighbour itself took of a core; null if nobody keeps that), late_ms (how late the changes of a dose over time came, at worst;
    null where there were none), coverage, verdict, remarks (what else was read beside the dose, in words). `asked` is the mean over the
    seconds that were read.

    Coverage is the share of the measured seconds in which the dose was right within the catalogue's tolerance; a second without
    a reading was not right.
    """
    rows = read_table(run_dir, "doses", trial, attempt).to_pylist()
    found = []
    for name in dict.fromkeys(row["violation"] for row in rows):
        mine = [r for r in rows if r["violation"] == name]
        given = {r["second"]: r["given"] for r in mine if warmup_s <= r["second"] < warmup_s + measure_s and r["given"] is not None}
        spec, inside = CATALOGUE[name], [r for r in mine if r["second"] in given]
        # Asked is a function of the second where the dose follows a profile; else it is the same in all.
        asked = float(np.mean([r["asked"] for r in inside or mine]))
        late = [r["late_ms"] for r in inside if r["late_ms"] is not None]
        right = sum(_right(spec, r) for r in inside)
        coverage = right / measure_s
        values = list(given.values())
        cost = [r["cpu_percent"] for r in mine if r["second"] in given and r["cpu_percent"] is not None]
        found.append(
            {
                "violation": name,
                "unit": spec.unit,
                "asked": asked,
                "mechanism": mine[0]["mechanism"],
                "fidelity": mine[0]["fidelity"],
                "measured": float(np.mean(values)) if values else None,
                "p5": float(np.percentile(values, 5)) if values else None,
                "p95": float(np.percentile(values, 95)) if values else None,
                "cpu_percent": float(np.mean(cost)) if cost else None,
                "late_ms": max(late, default=None),
                "coverage": round(coverage, 4),
                "verdict": _verdict(coverage, len(values)),
                "remarks": _remarks(inside),
            }
        )
    return found


def workload_dose_summaries(violations: Sequence[AskedViolation], given: Mapping[str, float]) -> list[dict[str, Any]]:
    """The same of the violations of the workload, whose doses were read back from the compiled trace (`given`, by violation; one that is
    not there could not be read). A trace holds its dose throughout or not at all, so the coverage is 1 or 0.
    """
    return [_in_the_trace(asked, given.get(asked.name)) for asked in violations if CATALOGUE[asked.name].stage == "compile"]


def _in_the_trace(asked: AskedViolation, given: float | None) -> dict[str, Any]:
    right = given is not None and within_tolerance(CATALOGUE[asked.name], asked.dose, given)
    return {
        "violation": asked.name,
        "unit": asked.unit,
        "asked": asked.dose,
        "mechanism": "transform of the trace",
        "fidelity": "exact",
        "measured": given,
        "coverage": 1.0 if right else 0.0,
        "verdict": "inconclusive" if given is None else "confirmed" if right else "mismatch",
        "remarks": [] if given is not None else ["the trace has too little in it to tell its dose"],
    }


def dose_amiss(dose: Mapping[str, Any]) -> str:
    """In words, how a dose of the workload that is not confirmed misses what was asked."""
    asked = f"dose of {dose['violation']}: {dose['asked']:g} {dose['unit']} asked"
    if dose["measured"] is None:
        return f"{asked}, not read: {dose['remarks'][0]}; give it more requests, or a shorter period"
    return f"{asked}, {dose['measured']:.4g} read back from the trace (tolerance {slack(CATALOGUE[dose['violation']], dose['asked']):.3g})"


def slack(spec: ViolationSpec, asked: float) -> float:
    """How far from `asked` a dose may lie, in its unit."""
    return max(spec.tolerance * abs(asked), spec.tolerance_abs)


def within_tolerance(spec: ViolationSpec, asked: float, given: float) -> bool:
    return abs(given - asked) <= slack(spec, asked) + 1e-9


def _remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of the last second that had any, and how a quota held the system over all of them."""
    found = [said for row in reversed(rows) if (said := row["remark"])][:1]
    held = [row for row in rows if row["throttled_ms"] is not None]
    if held:
        mean_ms, share = (float(np.mean([row[name] for row in held])) for name in ("throttled_ms", "throttled_periods"))
        found.append(f"the quota held the system {mean_ms:.3g} ms of each second, summed over its cores, in {share:.0%} of its periods")
    swapped = [row for row in rows if row["swapped_mib"] is not None and row["major_faults_per_s"] is not None]
    if swapped:
        mean_mib, faults = (float(np.mean([row[name] for row in swapped])) for name in ("swapped_mib", "major_faults_per_s"))
        fits = "" if mean_mib >= _SWAPPED_MIB else ": the system fits into its fast memory"
        found.append(f"{mean_mib:.3g} MiB of the system lay in swap, {faults:.3g} major faults a second{fits}")
    return found


def _right(spec: ViolationSpec, row: dict[str, Any]) -> bool:
    return within_tolerance(spec, row["asked"], row["given"]) and bool((row["late_ms"] or 0.0) <= MOST_LATE_MS)


def _verdict(coverage: float, readings: int) -> str:
    if readings == 0:
        return "inconclusive"
    return "confirmed" if coverage >= _CONFIRMED else "partial" if coverage >= _PARTIAL else "mismatch"
