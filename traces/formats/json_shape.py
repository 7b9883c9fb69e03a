"""What the fields of one-object-a-line JSON hold, by its first lines: JSON has no header, and a column has to be asked for by its type."""

import json
from itertools import islice
from pathlib import Path
from typing import Literal

from traces.errors import InvalidInput
from traces.formats.bytes_in import line_blocks
from traces.formats.json_lines import WHAT

Shape = Literal["text", "whole", "number", "other", "null"]
PROBED_LINES = 1000
MOST_FIELDS = 10_000
_WIDER: dict[tuple[Shape, Shape], Shape] = {("whole", "number"): "number", ("number", "whole"): "number"}


def first_object(head: bytes) -> dict[str, object] | None:
    """The first line of `head` as an object, where it is one and ends within."""
    line = head.split(b"\n", 1)[0].removeprefix(b"\xef\xbb\xbf").strip()
    if not line.startswith(b"{") or not line.endswith(b"}"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_shape(path: Path) -> dict[str, Shape]:
    """Fields of the first thousand objects, each as the widest of what it holds there. A line that is no object is left for the reader to
    report, with its number. Raises InvalidInput for more than ten thousand fields.
    """
    found: dict[str, Shape] = {}
    lines = (line for _, block in islice(line_blocks(path, WHAT), 1) for line in block.split(b"\n", PROBED_LINES)[:PROBED_LINES])
    for line in lines:
        try:
            value = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        for name, field in value.items():
            had, has = found.get(name, "null"), _shape(field)
            found[name] = has if had in ("null", has) else had if has == "null" else _WIDER.get((had, has), had)
        if len(found) > MOST_FIELDS:
            raise InvalidInput(f"{path}: over {MOST_FIELDS} fields in its first lines; expected one request a line; name another --format")
    return found


def _shape(value: object) -> Shape:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "other"
    return "whole" if isinstance(value, int) else "number"
