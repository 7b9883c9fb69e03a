"""A YAML document with positions: every value knows its line, so that an error can say where. Limits keep hostile files harmless.

Plain words are read by the core schema of YAML 1.2: true and false, decimal numbers, null; all else is text, also 12:30, on and yes,
which YAML 1.1 makes into 750 and true. The limits hold while the file is parsed. Knows nothing of campaigns.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from traces.errors import InvalidInput

_MOST_BYTES = 1 << 20
_DEEPEST = 32
_MOST_VALUES = 10_000
_LONGEST_KEY = 200

_PARSER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("", "~", "null", "Null", "NULL")

Key = str | int


@dataclass(frozen=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None), the line of each path in it, and how numbers and words were written."""

    path: Path
    data: dict[str, Any]
    lines: dict[tuple[Key, ...], int]
    written: dict[tuple[Key, ...], str]

    def line(self, at: Sequence[Key]) -> int:
        """The line of a path, or of the nearest thing around it."""
        here = tuple(at)
        while here and here not in self.lines:
            here = here[:-1]
        return self.lines.get(here, 1)

    def fail(self, at: Sequence[Key], message: str) -> NoReturn:
        """Raises InvalidInput: `file:line: a.b.c: message`."""
        name = ".".join(str(part) for part in at)
        raise InvalidInput(f"{self.path}:{self.line(at)}: {name + ': ' if name else ''}{message}")

    def with_text(self, places: Sequence[Sequence[str]]) -> dict[str, Any]:
        """The data, with numbers and words as they were written where text is meant; `*` in a place stands for any key."""
        texts = {at: text for at, text in self.written.items() if any(_covers(place, at) for place in places)}
        data: dict[str, Any] = _replaced(self.data, (), texts)
        return data


def _covers(place: Sequence[str], at: Sequence[Key]) -> bool:
    return len(place) == len(at) and all(p in ("*", a) for p, a in zip(place, at, strict=True))


def _replaced(value: Any, at: tuple[Key, ...], texts: dict[tuple[Key, ...], str]) -> Any:
    if isinstance(value, dict):
        return {k: _replaced(v, (*at, k), texts) for k, v in value.items()}
    if isinstance(value, list):
        return [_replaced(v, (*at, i), texts) for i, v in enumerate(value)]
    return texts.get(at, value)


def load_document(path: Path, what: str = "campaign", keys: str = "campaign, systems, nodes, workload") -> Document:
    """Reads one YAML mapping; `what` it is and its `keys`, for messages. Raises InvalidInput, one line, for anything else."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; expected a {what} document (YAML)") from None
    if len(raw) > _MOST_BYTES:
        raise InvalidInput(f"{path}: {len(raw)} bytes; a {what} document has at most {_MOST_BYTES}")
    try:
        reader = _Reader(path, yaml.parse(raw.decode("utf-8"), Loader=_PARSER))
        data = reader.document()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: byte {error.start} is not UTF-8; save the document as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        # What is missing at the end is missed on the line after the last, which is not there.
        last = max(1, len(raw.splitlines()))
        line = min(error.problem_mark.line + 1, last) if error.problem_mark else 1
        raise InvalidInput(f"{path}:{line}: not YAML: {error.problem}; mend the syntax there") from None
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        raise InvalidInput(f"{path}:1: expected a mapping with {keys}; found {type(data).__name__}")
    return Document(path, data, reader.lines, reader.written)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Reader:
    """Makes values of the parser's events as they come, so that a limit is met before the rest is parsed."""

    def __init__(self, path: Path, events: Iterator[yaml.Event]) -> None:
        self._path = path
        self._events = events
        self._values = 0
        self.lines: dict[tuple[Key, ...], int] = {}
        self.written: dict[tuple[Key, ...], str] = {}

    def document(self) -> Any:
        """The only document of the file; None where there is none."""
        next(self._events)  # start of the stream
        if not isinstance(next(self._events), yaml.DocumentStartEvent):
            return None
        data = self._value(next(self._events), ())
        next(self._events)  # end of the document
        after = next(self._events)
        if isinstance(after, yaml.DocumentStartEvent):
            self._fail(after, "a second document begins here (---); only one is read: remove it")
        return data

    def _fail(self, event: yaml.Event, message: str) -> NoReturn:
        raise InvalidInput(f"{self._path}:{_line(event)}: {message}")

    def _value(self, event: yaml.Event, at: tuple[Key, ...]) -> Any:
        self._count(event, at)
        self.lines.setdefault(at, _line(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(at)
        if isinstance(event, yaml.SequenceStartEvent):
            made: list[Any] = []
            while not isinstance(child := next(self._events), yaml.SequenceEndEvent):
                made.append(self._value(child, (*at, len(made))))
            return made
        assert isinstance(event, yaml.ScalarEvent)
        value = self._scalar(event)
        if not isinstance(value, str) and value is not None:
            self.written[at] = event.value
        return value

    def _count(self, event: yaml.Event, at: tuple[Key, ...]) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._fail(event, f"an alias (*{str(event.anchor)[:_LONGEST_KEY]}) is not allowed here; write the value out")
        self._values += 1
        if self._values > _MOST_VALUES:
            self._fail(event, f"more than {_MOST_VALUES} values; far fewer are needed: shorten it")
        if len(at) > _DEEPEST:
            self._fail(event, f"nested deeper than {_DEEPEST}; far less is needed: flatten it")

    def _mapping(self, at: tuple[Key, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            self._count(event, at)
            # A key is what is written, never a number or a truth value.
            if not isinstance(event, yaml.ScalarEvent) or not 0 < len(event.value) <= _LONGEST_KEY:
                self._fail(event, f"a key must be plain text of at most {_LONGEST_KEY} characters")
            key = event.value
            if key in made:
                self._fail(event, f"key {key!r} appears twice; remove one")
            self.lines[(*at, key)] = _line(event)
            made[key] = self._value(next(self._events), (*at, key))
        return made

    def _scalar(self, event: yaml.ScalarEvent) -> str | int | float | bool | None:
        text = event.value
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._fail(event, f"tag {event.tag!r} is not known here; remove it")
        if event.tag is not None or not event.implicit[0]:
            return text
        if text in _NULLS:
            return None
        if text in _WORDS:
            return _WORDS[text]
        try:
            if _INT.fullmatch(text):
                return int(text)
            if _FLOAT.fullmatch(text):
                number = float(text)
                if not math.isfinite(number):
                    self._fail(event, "a number beyond 1e308; give a smaller one")
                return number
        except ValueError:  # int() refuses thousands of digits
            self._fail(event, "a number of too many digits; give a smaller one")
        return text
