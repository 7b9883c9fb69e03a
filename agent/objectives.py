"""Objectives of one replay, such as `response_p99 < 2ms` or `completed > 99.9%`. No figure is a miss, never a pass."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from traces.errors import InvalidInput, UsageError
from traces.quantities import parse_quantity

_BOUND = re.compile(r"\s*((?:slip|service|response)_p(?:50|99|99_9)|completed)\s*(<=|>=|<|>)\s*(.+?)\s*")
_LEAVES_OUT = {"p50": 0.5, "p99": 0.01, "p99_9": 0.001}
_SCALES = {"": 1.0, "percent": 0.01, "ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True)
class Objective:
    name: str
    relation: str
    value: float  # microseconds, or a share
    text: str

    def holds(self, figure: float) -> bool:
        match self.relation:
            case "<":
                return figure < self.value
            case "<=":
                return figure <= self.value
            case ">":
                return figure > self.value
            case _:
                return figure >= self.value


def parse_objective(text: str) -> Objective:
    match = _BOUND.fullmatch(text)
    if match is None:
        raise UsageError(f"--objective {text!r}: expected such as 'response_p99 < 2ms' or 'completed > 99.9%'")
    try:
        number, unit = parse_quantity(match[3])
    except InvalidInput:
        number, unit = 0.0, "?"
    if unit not in _SCALES:
        raise UsageError(f"--objective {text!r}: {match[3]!r} is not a time (us, ms, s) or a share (%)")
    return Objective(match[1], match[2], number * _SCALES[unit], text)


def _failed_beyond(summary: Mapping[str, Any], objective: Objective) -> float:
    """Percent of requests without an answer, if an upper bound on times cannot hold for that alone; else 0.

    Times are of answers. A server that refuses most requests, and answers the rest in no time, holds no bound on them.
    """
    kind, _, quantile = objective.name.partition("_")
    if kind not in ("service", "response") or objective.relation not in ("<", "<=") or not summary["scheduled"]:
        return 0.0
    failed: int = summary["scheduled"] - summary["completed"]
    return 100 * failed / summary["scheduled"] if failed > _LEAVES_OUT[quantile] * summary["scheduled"] else 0.0


def missed(summary: Mapping[str, Any], objectives: Sequence[Objective]) -> list[str]:
    found = []
    for objective in objectives:
        if objective.name == "completed":
            figure = summary["completed"] / summary["scheduled"] if summary["scheduled"] else None
        else:
            kind, _, quantile = objective.name.partition("_")
            figure = summary[f"{kind}_us"][quantile]
        if failed := _failed_beyond(summary, objective):
            found.append(f"{objective.text}: {failed:.3g} % of what was due was not answered, more than that quantile leaves out")
        elif figure is None or not objective.holds(figure):
            found.append(f"{objective.text}: it is {'without a figure' if figure is None else f'{figure:.4g}'}")
    return found
