"""`where` expressions over a node's labels: ==, !=, =~ (regular expression, searched), <, <=, >, >=, in, and, or, not, ( ).

A label that a node does not have makes its comparison false.
"""

import re
from collections.abc import Callable, Mapping

from traces.errors import InvalidInput

Label = str | int | float | bool
Test = Callable[[Mapping[str, Label]], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<op>==|!=|=~|<=|>=|<|>|\(|\)|\[|\]|,)|(?P<text>'[^']*'|"[^"]*")|(?P<num>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][\w./-]*))"""
)
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def compile_where(text: str, name: str = "where") -> Test:
    """Parses once; the result is asked for each node. Raises InvalidInput with the column of what is wrong."""
    parser = _Parser(text, name)
    test = parser.either()
    parser.expect_end()
    return test


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._text = text
        self._at = 0
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                self._fail(at, "cannot be read")
            assert match is not None and match.lastgroup is not None
            self._tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()

    def _fail(self, column: int, what: str) -> None:
        raise InvalidInput(
            f"{self._name}: column {column + 1}: {self._text[column : column + 12]!r} {what}; "
            "expected such as cpu_model =~ 'EPYC' and cores >= 8"
        )

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "", len(self._text))

    def _take(self, *words: str) -> bool:
        kind, word, _ = self._peek()
        if kind != "text" and word in words:
            self._at += 1
            return True
        return False

    def expect_end(self) -> None:
        kind, _, column = self._peek()
        if kind != "end":
            self._fail(column, "was not expected")

    def either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return lambda labels: any(test(labels) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return lambda labels: all(test(labels) for test in tests)

    def _one(self) -> Test:
        if self._take("not"):
            test = self._one()
            return lambda labels: not test(labels)
        if self._take("("):
            test = self.either()
            if not self._take(")"):
                self._fail(self._peek()[2], "should be )")
            return test
        kind, label, column = self._peek()
        if kind != "word":
            self._fail(column, "is no label")
        self._at += 1
        return self._comparison(label)

    def _comparison(self, label: str) -> Test:
        _, relation, column = self._peek()
        if relation not in ("==", "!=", "=~", "in", *_ORDER):
            self._fail(column, "is no comparison")
        self._at += 1
        if relation == "in":
            return self._membership(label)
        value = self._value()
        if relation == "==":
            return lambda labels: label in labels and _same(labels[label], value)
        if relation == "!=":
            return lambda labels: label in labels and not _same(labels[label], value)
        if relation == "=~":
            try:
                pattern = re.compile(str(value))
            except re.error as error:
                raise InvalidInput(f"{self._name}: {value!r} is no regular expression ({error})") from None
            return lambda labels: label in labels and pattern.search(str(labels[label])) is not None
        if isinstance(value, str):
            self._fail(column, "compares numbers only")
        compare, bound = _ORDER[relation], float(value)
        return lambda labels: isinstance(labels.get(label), int | float) and compare(float(labels[label]), bound)

    def _membership(self, label: str) -> Test:
        if not self._take("["):
            self._fail(self._peek()[2], "should be [")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        if not self._take("]"):
            self._fail(self._peek()[2], "should be ]")
        return lambda labels: label in labels and any(_same(labels[label], value) for value in values)

    def _value(self) -> Label:
        kind, word, column = self._peek()
        if kind not in ("text", "num", "word") or word in ("and", "or", "not", "in"):
            self._fail(column, "is no value")
        self._at += 1
        if kind == "num":
            return float(word)
        return word[1:-1] if kind == "text" else word


def _same(label: Label, value: Label) -> bool:
    if isinstance(label, int | float) and isinstance(value, int | float):
        return float(label) == float(value)
    return str(label) == str(value)
