"""Traces in the forms that other tools replay, one module each with an `EXPORT`."""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol

from traces.errors import InvalidInput
from traces.publishing import checked_place, part_beside, put_in_place
from traces.stream import Trace


class Export(Protocol):
    """One form. Instances hold no state."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    def write(self, trace: Trace, path: Path, options: Mapping[str, str]) -> int:
        """Writes `trace` and gives the number of requests. Raises InvalidInput for one that this form cannot hold."""


@cache
def exports() -> Mapping[str, Export]:
    found = (getattr(import_module(f"{__name__}.{module.name}"), "EXPORT", None) for module in pkgutil.iter_modules(__path__))
    return {each.name: each for each in found if each is not None}


def export_trace(trace: Trace, path: Path, name: str, options: Mapping[str, str]) -> int:
    """Writes `trace` at `path`, whole or not at all. Raises InvalidInput."""
    if name not in exports():
        raise InvalidInput(f"export {name!r} is unknown; expected one of {', '.join(exports())}")
    if not trace.bounded:
        raise InvalidInput(f"{trace.meta.name}: a synthesis without an end; expected a length; add ,for=10s or ,rows=N")
    checked_place(path)
    with part_beside(path.parent) as part:
        rows = exports()[name].write(trace, part, options)
        if not rows:
            raise InvalidInput(f"{trace.meta.name}: no request to export; expected at least one; check the trace")
        put_in_place(part, path)
    return rows
