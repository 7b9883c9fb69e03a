"""How far off nominal the workload of each condition was: one line a violation of the workload, the x axis for what it cost."""

from collections.abc import Mapping, Sequence
from typing import Any


def workloads_off_nominal(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """condition, violation, unit, asked, measured, and of the dimension that it bends: dimension, distance, floor (what two samples of one
    workload reach by chance), beyond_noise, words; `all` dimensions beside. A trace is the same in all trials of a condition.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        for dose in entry["dose"]:
            if "off_nominal" in dose:
                told = {name: dose[name] for name in ("violation", "unit", "asked", "measured")}
                found.setdefault(
                    (entry["condition"], dose["violation"]), {"condition": entry["condition"], **told, **_flat(dose["off_nominal"])}
                )
    return sorted(found.values(), key=lambda each: (each["violation"], each["distance"], each["condition"]))


def _flat(off: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: off[name] for name in ("dimension", "what", "beyond_noise", "words", "all")}
    return {
        **kept,
        "distance": off["distance"]["wasserstein"],
        "floor": off["floor"]["wasserstein"],
        "ks": off["distance"]["ks"],
        "js": off["distance"]["js"],
    }
