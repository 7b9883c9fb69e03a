"""Objectives of one replay, such as `response_p99 < 2ms` or `completed > 99.9%`. No figure is a miss, never a pass."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from traces.errors import InvalidInput, UsageError
from traces.quantities import parse_quantity

_BOUND = re.compile(r"\s*((?:slip|service|response)_p(?:50|99|99_9)|completed)\s*(<=|>=|<|>)\s*(.+?)\s*")
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


def missed(summary: Mapping[str, Any], objectives: Sequence[Objective]) -> list[str]:
    found = []
    for objective in objectives:
        if objective.name == "completed":
            figure = summary["completed"] / summary["scheduled"] if summary["scheduled"] else None
        else:
            kind, _, quantile = objective.name.partition("_")
            figure = summary[f"{kind}_us"][quantile]
        if figure is None or not objective.holds(figure):
            found.append(f"{objective.text}: it is {'without a figure' if figure is None else f'{figure:.4g}'}")
    return found
