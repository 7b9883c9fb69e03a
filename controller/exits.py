"""What a finished run is worth, as an exit code. Errors have theirs from the exception tree (traces.errors).

0 done and objectives held | 10 an objective not held | 11 no data, never a pass | 12 nothing valid was measured |
13 some trials have no valid attempt.

Objectives are judged on nominal trials: the violated ones are the experiment, not the promise.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.campaign import NOMINAL, Objectives
from controller.fields import Threshold

HELD, NOT_HELD, NO_DATA, INVALID, PARTIAL = 0, 10, 11, 12, 13


def exit_code(document: Mapping[str, Any], objectives: Objectives, planned: int) -> int:
    """`document` is the one that --json prints; `planned` the number of trials."""
    trials = document["trials"]
    if not trials:
        return NO_DATA
    believed = [t for t in trials if t["verdict"] in ("valid", "suspect") and t["failure_class"] != "cancelled"]
    if not believed:
        return INVALID
    if not any(t["completed"] for t in believed):
        return NO_DATA
    if len({t["id"] for t in believed}) < planned:
        return PARTIAL
    return NOT_HELD if not_held([t for t in believed if t["condition"] == NOMINAL], objectives) else HELD


def not_held(trials: Sequence[Mapping[str, Any]], objectives: Objectives) -> list[str]:
    """Objectives that a trial misses, in words. A figure that is not there is a miss: no data is never a pass."""
    missed = []
    for name, bound in objectives:
        if isinstance(bound, Threshold):
            for trial in trials:
                figure = _figure(trial, name)
                if figure is None or not bound.holds(figure):
                    shown = "no figure" if figure is None else f"{figure:.4g}"
                    missed.append(f"{trial['id']}: {name} is {shown}, objective {bound.text}")
    return missed


def _figure(trial: Mapping[str, Any], name: str) -> float | None:
    if name == "completed":
        return trial["completed"] / trial["scheduled"] if trial["scheduled"] else None
    kind, _, quantile = name.partition("_")
    value = (trial.get(f"{kind}_us") or {}).get(quantile)
    return None if value is None else float(value)
