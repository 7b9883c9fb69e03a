"""What a reader leaves out of a log, counted and said: lines that are no request of the kind which the trace holds.

Counted over the first million lines at most, so that opening a long log does not read it twice; the note says of how many.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from traces.errors import InvalidInput
from traces.formats.reading import Chunk

COUNTED_LINES = 1_000_000
LINES = "lines"
"""The name under which a reader counts all lines that it has seen; others are reasons in words."""

Tally = Counter[str]


def skips_others(path: Path, options: Mapping[str, str]) -> bool:
    """The option `other`: whether what cannot be a request is left out (the default) or refused."""
    other = options.get("other", "skip")
    if other not in ("skip", "refuse"):
        raise InvalidInput(f"{path}: option other: {other!r}; expected skip or refuse")
    return other == "skip"


def left_out(read: Callable[[Tally], Iterator[Chunk]]) -> str:
    """A note such as "of 10,000 lines left out: 12 without a request", "" for none. Raises what reading those lines raises."""
    tally, whole = Tally(), True
    for _ in read(tally):
        if tally[LINES] >= COUNTED_LINES:
            whole = False
            break
    lines = tally.pop(LINES, 0)
    if not tally.total():
        return ""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(tally.items()) if count)
    return f"of {'' if whole else 'the first '}{lines:,} lines left out: {reasons}"
