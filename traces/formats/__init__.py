"""Trace formats, one module each with a `FORMAT`; others come in through the entry point group
`offspec.trace_formats`.
"""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of
from traces.signal import Signal
from traces.stream import Trace

GROUP = "offspec.trace_formats"
HEAD_BYTES = 24 * 1024


class TraceFormat(Protocol):
    """One format. Instances hold no state."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    def sniff(self, path: Path, head: bytes) -> int:
        """How sure that `path` is of this format by its first (decompressed) bytes: 0 is no, 1 may be, 2
        likely, 3 sure. A folder has no bytes: `head` is empty, and only its files' names can tell.
        """

    def open(self, path: Path, options: Mapping[str, str]) -> Trace | Signal:
        """Raises InvalidInput for a file or options that it cannot use."""


@cache
def formats() -> Mapping[str, TraceFormat]:
    """All formats by name; a plug-in cannot take the place of a built-in."""
    found: dict[str, TraceFormat] = {}
    for entry in entry_points(group=GROUP):
        plugged: TraceFormat = entry.load()
        found[plugged.name] = plugged
    for module in pkgutil.iter_modules(__path__):
        built_in = getattr(import_module(f"{__name__}.{module.name}"), "FORMAT", None)
        if built_in is not None:
            found[built_in.name] = built_in
    return dict(sorted(found.items()))


def format_of(path: Path) -> TraceFormat:
    """The format of a file by its content. Raises InvalidInput where none or several fit."""
    head = b"" if path.is_dir() else head_of(path, HEAD_BYTES)
    if not head and not path.is_dir():
        raise InvalidInput(f"{path}: the file is empty; expected a trace; fetch it again")
    sure = {name: format_.sniff(path, head) for name, format_ in formats().items()}
    best = max(sure.values())
    names = [name for name, degree in sure.items() if degree == best]
    if best and len(names) == 1:
        return formats()[names[0]]
    if not best and head[257:262] == b"ustar":
        raise InvalidInput(f"{path}: an archive; expected the file within it; unpack it with tar xf and name that file")
    what = f"looks like {' and like '.join(names)}" if best else f"is {'a folder ' if path.is_dir() else ''}of no format that is known"
    raise InvalidInput(f"{path}: {what}; expected one of {', '.join(formats())}; name it with --format")
