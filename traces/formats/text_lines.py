"""Lines of a log as Arrow texts, many at once, each with its number; empty ones are none."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from traces.formats.bytes_in import line_blocks, text_of


@dataclass(frozen=True)
class Texts:
    """Some lines and their numbers in the file, from 1."""

    numbers: list[int]
    lines: pa.Array


def text_lines(path: Path, what: str, passed_over: bytes = b"") -> Iterator[Texts]:
    """Lots of a few MiB; "\\r\\n" ends a line too. `passed_over`: a line that is none. Raises InvalidInput for one that is not UTF-8."""
    for first, block in line_blocks(path, what):
        found = [(number, line.removesuffix(b"\r")) for number, line in enumerate(block.split(b"\n"), first)]
        found = [(number, line) for number, line in found if line and line != passed_over]
        raw = pa.array([line for _, line in found], pa.binary())
        try:
            lines = raw.cast(pa.utf8())
        except pa.ArrowInvalid:
            for number, line in found:
                text_of(path, number, line)
            raise
        yield Texts([number for number, _ in found], lines)
