"""A YAML document with positions: every value knows its line, so that an error can say where. Limits keep hostile files harmless.

Knows nothing of campaigns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from traces.errors import InvalidInput

_MOST_BYTES = 1 << 20
_DEEPEST = 32
_MOST_NODES = 50_000

Key = str | int


@dataclass(frozen=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None) and the line of each path in it."""

    path: Path
    data: dict[str, Any]
    lines: dict[tuple[Key, ...], int]

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


def load_document(path: Path) -> Document:
    """Reads one YAML mapping. Raises InvalidInput, one line, for anything else."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; expected a campaign document (YAML)") from None
    if len(raw) > _MOST_BYTES:
        raise InvalidInput(f"{path}: {len(raw)} bytes; a campaign document has at most {_MOST_BYTES}")
    try:
        root = yaml.compose(raw.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: byte {error.start} is not UTF-8; save the document as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(f"{path}:{line}: not YAML: {error.problem}; mend the syntax there") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    reader = _Reader(path)
    data = reader.value(root, (), 0) if root is not None else None
    if not isinstance(data, dict):
        raise InvalidInput(f"{path}:1: expected a mapping with campaign, systems, nodes, workload; found {type(data).__name__}")
    return Document(path, data, reader.lines)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[int] = set()
        self._loader = yaml.SafeLoader("")
        self.lines: dict[tuple[Key, ...], int] = {}

    def value(self, node: yaml.Node, at: tuple[Key, ...], depth: int) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(at, line)
        if id(node) in self._seen:
            raise InvalidInput(f"{self._path}:{line}: an alias (*name) is not allowed here; write the value out")
        self._seen.add(id(node))
        if depth > _DEEPEST or len(self._seen) > _MOST_NODES:
            raise InvalidInput(f"{self._path}:{line}: nested deeper than {_DEEPEST} or over {_MOST_NODES} values")
        if isinstance(node, yaml.MappingNode):
            made: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(self._scalar(key_node)) if isinstance(key_node, yaml.ScalarNode) else ""
                where = key_node.start_mark.line + 1
                if not key:
                    raise InvalidInput(f"{self._path}:{where}: a key must be plain text")
                if key in made:
                    raise InvalidInput(f"{self._path}:{where}: key {key!r} appears twice; remove one")
                self.lines[(*at, key)] = where
                made[key] = self.value(value_node, (*at, key), depth + 1)
            return made
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*at, i), depth + 1) for i, child in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            value = self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise InvalidInput(f"{self._path}:{node.start_mark.line + 1}: {str(error).splitlines()[0]}") from None
        # A time such as 12:30 or a date is text to us: units are our own business.
        return value if isinstance(value, str | int | float | bool) or value is None else str(node.value)
