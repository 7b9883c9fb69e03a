"""The texts with a meaning that a campaign holds: durations, rates, bounds. Each is parsed once, here, and says to editors what it
looks like (`pattern`), since what a person writes is text and what the program keeps is a number.

Knows nothing of where in a document they stand.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from traces.errors import InvalidInput
from traces.quantities import parse_duration, parse_quantity, parse_rate

T = TypeVar("T")

NUMBER = r"\+?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"
"""How a positive number is written, for patterns in a JSON Schema (a dialect that Python and ECMAScript share)."""
_TIME = rf"{NUMBER}\s*(ns|us|µs|ms|s|m|min|h|d)"
_SHARE = rf"{NUMBER}\s*%?"


def _plain(parse: Callable[[str], T], text: str) -> T:
    """Our own parsers' errors as pydantic wants them, so that they get their line."""
    try:
        return parse(text)
    except InvalidInput as error:
        raise ValueError(str(error).partition(": ")[2] or str(error)) from None


def _ns(text: Any) -> int:
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(f"{text} has no unit; write a duration such as 10s or 500ms")
    return _plain(parse_duration, str(text))


def _rate(text: Any) -> float:
    return _plain(parse_rate, str(text))


class Threshold(BaseModel):
    """A bound on a figure: shares as numbers from 0 to 1, times in microseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    relation: str
    value: float
    text: str

    def holds(self, figure: float) -> bool:
        compare = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}
        return bool(compare[self.relation](float(figure), self.value))


def _bound(side: Literal["<", ">"], parse: Callable[[str], float], example: str) -> Callable[[Any], Threshold]:
    """Parses bounds of one direction only: a measurement that must reach a share cannot be asked to stay below it."""

    def bound(text: Any) -> Threshold:
        match = re.fullmatch(r"\s*(<=|>=|<|>)\s*(.+?)\s*", str(text))
        if match is None:
            raise ValueError(f"{text!r} is not a bound; write one such as {example!r}")
        if match[1][0] != side:
            need = "an upper" if side == "<" else "a lower"
            raise ValueError(f"{text!r} points the wrong way: expected {need} bound; write one such as {example!r}")
        return Threshold(relation=match[1], value=parse(match[2]), text=str(text))

    return bound


def _share(text: str) -> float:
    number, unit = _plain(parse_quantity, text)
    if unit not in ("", "percent"):
        raise ValueError(f"{text!r}: unit {unit!r} is not one of a share; write one such as 99% or 0.99")
    share = number / 100 if unit else number
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is not a share; give 0% to 100%, or 0 to 1")
    return share


def _positive_share(text: Any) -> float:
    share = _share(str(text))
    if share <= 0:
        raise ValueError(f"{text!r} is not over 0; give a share such as 10%")
    return share


def _us(text: str) -> float:
    return _plain(parse_duration, text) / 1000


def _looks(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"^\s*{pattern}\s*$", "examples": list(examples)})


def _factor(text: str) -> float:
    number, unit = _plain(parse_quantity, text.rstrip("x"))
    if unit or number <= 0:
        raise ValueError(f"{text!r} is not a factor; write one such as 1.5")
    return number


at_least_factor = _bound(">", _factor, "> 1.5")
at_least_share = _bound(">", _share, ">= 99%")
at_most_share = _bound("<", _share, "<= 1%")
at_most_time = _bound("<", _us, "< 2ms")

Duration = Annotated[int, BeforeValidator(_ns), _looks(_TIME, "10s", "500ms")]
"""Nanoseconds."""
Rate = Annotated[float, BeforeValidator(_rate), _looks(rf"{NUMBER}\s*[kM]?\s*/\s*(s|sec|min|m|h)", "20000/s", "12k/s")]
"""Requests per second."""
Share = Annotated[float, BeforeValidator(_positive_share), _looks(_SHARE, "10%")]
"""Over 0, up to 1."""
AtLeastFactor = Annotated[Threshold, BeforeValidator(at_least_factor), _looks(rf">=?\s*{NUMBER}x?", "> 1.5")]
AtLeastShare = Annotated[Threshold, BeforeValidator(at_least_share), _looks(rf">=?\s*{_SHARE}", ">= 99%")]
AtMostShare = Annotated[Threshold, BeforeValidator(at_most_share), _looks(rf"<=?\s*{_SHARE}", "<= 1%")]
AtMostTime = Annotated[Threshold, BeforeValidator(at_most_time), _looks(rf"<=?\s*{_TIME}", "< 2ms")]
Text = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""A word handed on as it is written, also where YAML would take it for a number: the reader restores it."""
