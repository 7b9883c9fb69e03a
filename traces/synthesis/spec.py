"""The text that asks for a made trace, `HEAD:ARGUMENT,name=value,...`, and the parameters that a law takes.

A parameter says once what it is, which values it takes and gives an example; the reading, the complaint and the list of laws are made from
that.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from traces.errors import InvalidInput
from traces.quantities import parse_duration, parse_rate, parse_size

T = TypeVar("T")


@dataclass(frozen=True)
class Form(Generic[T]):
    """How a value is written: `said` for a person, `read(text, where)`, which raises InvalidInput."""

    said: str
    read: Callable[[str, str], T]


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """`example` is a value as it is written; without a `default` the parameter must be given wherever `Given.need` asks for it."""

    name: str
    form: Form[T]
    meaning: str
    example: str
    default: str = ""

    def read(self, text: str, spec: str) -> T:
        return self.form.read(text, f"{spec}: {self.name}")


@dataclass(frozen=True)
class Given:
    """What a spec says: `head` and `argument` around its first colon, and the named values as text."""

    spec: str
    head: str
    argument: str
    values: Mapping[str, str]

    def get(self, parameter: Parameter[T]) -> T | None:
        """None where neither the spec nor a default gives it."""
        text = self.values.get(parameter.name, parameter.default)
        if not text and parameter.name not in self.values:
            return None
        try:
            return parameter.read(text, self.spec)
        except InvalidInput as error:
            raise InvalidInput(f"{error}; for example {parameter.name}={parameter.example}") from error

    def need(self, parameter: Parameter[T]) -> T:
        value = self.get(parameter)
        if value is None:
            raise InvalidInput(
                f"{self.spec}: {parameter.name} is missing ({parameter.meaning}); expected {parameter.form.said}; "
                f"for example {parameter.name}={parameter.example}"
            )
        return value

    def has(self, parameter: Parameter[Any]) -> bool:
        return parameter.name in self.values

    def only(self, parameters: Iterable[Parameter[Any]]) -> None:
        """Raises InvalidInput for a name that is none of these."""
        names = [parameter.name for parameter in parameters]
        for name in self.values:
            if name not in names:
                part = f"{name}={self.values[name]}"
                raise InvalidInput(f"{self.spec}: {part!r} is not known; expected name=value with one of {', '.join(names)}")

    def rate_per_s(self) -> float:
        """The argument as a rate; a bare number is per second."""
        if not self.argument:
            raise InvalidInput(f"{self.spec}: a rate is missing; expected requests per second such as {self.head}:50000")
        return parse_rate(self.argument if "/" in self.argument else f"{self.argument}/s", f"{self.spec}: rate")


def given(spec: str) -> Given:
    """Raises InvalidInput for a part that is not name=value, and for a name that comes twice."""
    first, *rest = spec.split(",")
    head, _, argument = first.partition(":")
    values: dict[str, str] = {}
    for part in rest:
        name, equals, text = part.partition("=")
        if not equals or not name or not text:
            raise InvalidInput(f"{spec}: {part!r} is not known; expected name=value; for example {head}:{argument},for=10s")
        if name in values:
            raise InvalidInput(f"{spec}: {name} is given twice; expected it once; leave one out")
        values[name] = text
    return Given(spec, head, argument, values)


def number(low: float, high: float) -> Form[float]:
    said = f"a number from {low:g} to {high:g}"

    def read(text: str, where: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise InvalidInput(f"{where}: {text!r}; expected {said}")
        return value

    return Form(said, read)


def whole(low: int, high: int) -> Form[int]:
    said = f"a whole number from {low} to {high}"

    def read(text: str, where: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise InvalidInput(f"{where}: {text!r}; expected {said}")
        return value

    return Form(said, read)


def word(*words: str) -> Form[str]:
    said = " or ".join(words)

    def read(text: str, where: str) -> str:
        if text not in words:
            raise InvalidInput(f"{where}: {text!r}; expected {said}")
        return text

    return Form(said, read)


def _lasting(text: str, where: str) -> int:
    value = parse_duration(text, where)
    if not 0 < value <= 2**62:
        raise InvalidInput(f"{where}: {text!r}; expected a time above 0 and of at most 146 years")
    return value


def _per_s(text: str, where: str) -> float:
    return parse_rate(text if "/" in text else f"{text}/s", where)


DURATION: Form[int] = Form("a time such as 10s, 500ms or 2m", parse_duration)
LASTING: Form[int] = Form("a time above 0 such as 10s, 500ms or 2m", _lasting)
RATE: Form[float] = Form("a rate such as 20000/s (a bare number is per second)", _per_s)
SIZE: Form[int] = Form("a size such as 64KiB or 512", parse_size)
