"""A violation's options as people give them, checked against the catalogue and turned into the text that agents take."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from protos.violations import Number, Told, ViolationSpec, Words


class WrongOption(Exception):
    """One option cannot be used; `key` is its name, "" where one is missing. str() says why and what to give."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def near(word: str, known: Sequence[str]) -> str:
    """What an unknown word was perhaps meant to be, and what there is; to be appended to a message."""
    close = difflib.get_close_matches(word, known, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{hint} (known here: {', '.join(known)})" if known else hint


def options_of(spec: ViolationSpec, given: Mapping[str, Any]) -> dict[str, str]:
    """Options as agents take them: text, words joined by commas. Raises WrongOption."""
    text = {}
    for key, value in given.items():
        if key not in spec.options:
            known = tuple(spec.options) if spec.is_switch else ("dose", "unit", *spec.options)
            raise WrongOption(key, f"unknown key{near(key, known)}")
        allowed = spec.options[key]
        if isinstance(allowed, Words):
            words = value if isinstance(value, list) else [value]
            wrong = [word for word in words if word not in allowed.of]
            if wrong or not words:
                what = f"{wrong[0]!r} is unknown{near(str(wrong[0]), allowed.of)}" if wrong else "an empty list; give at least one word"
                raise WrongOption(key, what)
            text[key] = ",".join(words)
            continue
        if isinstance(allowed, Told):
            if not re.fullmatch(allowed.pattern, str(value)):
                raise WrongOption(key, f"{value!r} is not {allowed.words}")
        elif isinstance(allowed, Number) or not allowed:
            _check_number(key, value, allowed if isinstance(allowed, Number) else None)
        elif value not in allowed:
            raise WrongOption(key, f"{value!r} is not allowed; use one of {', '.join(allowed)}")
        if key in spec.whole and value != int(value):
            raise WrongOption(key, f"{value!r} is not a whole number; give one such as 2")
        text[key] = f"{value:g}" if isinstance(value, float) else str(value)
    for key, allowed in spec.options.items():
        if isinstance(allowed, Words | Told) and allowed.required and key not in given:
            what = f"one or a list of {', '.join(allowed.of)}" if isinstance(allowed, Words) else allowed.words
            raise WrongOption("", f"{key} is missing; give {what}")
    return text


def _check_number(key: str, value: Any, bounds: Number | None) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if bounds is None:
        if not number or value <= 0:
            raise WrongOption(key, f"{value!r} is not a positive number")
    elif not number or not bounds.low <= value <= bounds.high:
        raise WrongOption(key, f"{value!r} is not a number from {bounds.low:g} to {bounds.high:g}")


def by_default(spec: ViolationSpec) -> str:
    """For which options a figure holds that was found without giving any, in words."""
    return f"with default {', '.join(spec.options)}" if spec.options else "whatever is asked, as it has no options"
