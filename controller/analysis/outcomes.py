"""What only shows beside the nominal trials: that a request costs so much more CPU time that it must have gone another way. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from controller.analysis.retention import usable
from controller.campaign import NOMINAL, FallsBack
from controller.verdict import costs_like_another_path


def outcomes(entries: Sequence[Mapping[str, Any]], hardware: Collection[str], signs: Sequence[FallsBack]) -> list[dict[str, Any]]:
    """The entries with `cpu_per_request`: times the mean of the variant's nominal trials, null where either is not known.

    `hardware`: conditions that violate hardware; the outcome of their trials is decided again with it. Others keep theirs.
    """
    nominal: dict[str, list[float]] = {}
    for entry in usable(entries):
        if entry["condition"] == NOMINAL and entry["requests_per_cpu_s"]:
            nominal.setdefault(entry["variant"], []).append(1 / entry["requests_per_cpu_s"])
    return [_with_cost(entry, nominal.get(entry["variant"], ()), entry["condition"] in hardware, signs) for entry in entries]


def _with_cost(entry: Mapping[str, Any], nominal: Sequence[float], decides: bool, signs: Sequence[FallsBack]) -> dict[str, Any]:
    if not nominal or not entry["requests_per_cpu_s"]:
        return {**entry, "cpu_per_request": None}
    times = 1 / entry["requests_per_cpu_s"] / (sum(nominal) / len(nominal))
    found = {**entry, "cpu_per_request": round(times, 3)}
    if not decides or entry["outcome"] not in ("functions", "falls_back"):
        return found
    if (said := costs_like_another_path(signs, times)) is not None:
        return {**found, "outcome": "falls_back", "evidence": [*entry["evidence"], said]}
    return {**found, "evidence": [*entry["evidence"], f"a request costs {times:.2f} times the CPU time of a nominal one"]}


def told(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a variant and condition for reports: how many believed attempts had which outcome, and the evidence of the last."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in usable(entries):
        row = rows.setdefault((entry["variant"], entry["condition"]), {"outcomes": {}})
        word = entry["outcome"].replace("_", " ")
        row["outcomes"][word] = row["outcomes"].get(word, 0) + 1
        row["evidence"] = entry["evidence"]
    variants = list(dict.fromkeys(variant for variant, _ in rows))
    in_order = sorted(rows.items(), key=lambda row: (variants.index(row[0][0]), row[0][1] != NOMINAL, row[0][1]))
    return [
        {"variant": variant, "condition": condition, "said": ", ".join(f"{n} {word}" for word, n in row["outcomes"].items()), **row}
        for (variant, condition), row in in_order
    ]
