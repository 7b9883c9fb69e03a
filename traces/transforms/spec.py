"""The value that asks for one transform, and how its parts are read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from traces.errors import InvalidInput


@dataclass(frozen=True)
class TransformSpec:
    """`value` is the transform's main figure, in the unit that it documents; a text is parsed."""

    name: str
    value: float | str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def number(self, low: float, high: float, expected: str) -> float:
        """The value as a number within [low, high]. Raises InvalidInput."""
        try:
            value = math.nan if self.value is None else float(self.value)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise InvalidInput(f"transform {self.name}: value {self.value!r}; expected {expected}")
        return value
