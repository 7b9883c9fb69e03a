"""The value that asks for one transform, and how its parts are read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from traces.errors import InvalidInput
from traces.quantities import parse_duration


@dataclass(frozen=True)
class TransformSpec:
    """`value` is the transform's main figure, in the unit that it documents; a text is parsed."""

    name: str
    value: float | str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def number(self, low: float, high: float, expected: str) -> float:
        """The value as a number within [low, high]. Raises InvalidInput."""
        return self._number("value", self.value, low, high, expected)

    def option(self, name: str, default: float, low: float, high: float, expected: str) -> float:
        """An option as a number within [low, high]. Raises InvalidInput."""
        return self._number(name, self.options.get(name, default), low, high, expected)

    def word(self, name: str, *words: str) -> str:
        """An option that is one of some words; the first is the default. Raises InvalidInput."""
        given = self.options.get(name, words[0])
        if given not in words:
            raise InvalidInput(f"transform {self.name}: {name} {given!r}; expected {' or '.join(words)}")
        return given

    def duration_ns(self, name: str, default: str) -> int:
        """An option as a time above 0. Raises InvalidInput."""
        given = self.options.get(name, default)
        duration = parse_duration(given, f"transform {self.name}: {name}")
        if duration <= 0:
            raise InvalidInput(f"transform {self.name}: {name} {given!r}; expected a time above 0 such as {default}")
        return duration

    def _number(self, what: str, given: float | str | None, low: float, high: float, expected: str) -> float:
        try:
            value = math.nan if given is None else float(given)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise InvalidInput(f"transform {self.name}: {what} {given!r}; expected {expected}")
        return value
