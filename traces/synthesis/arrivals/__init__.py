"""When requests come: one law a module, each with a `LAW`; its name is the head of a spec (`gamma:50000,cv=4`).

A law gives arrivals in lots of BATCH_ROWS rows, always the same lots from row 0 on, whoever reads them in whatever batches. The draw of a
row depends on seed and row number alone; its time is the sum of what came before it, as it must be, so a reader starts at row 0.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from traces.synthesis.spec import Given, Parameter

__all__ = ["ArrivalLaw", "Arrivals", "Floats", "laws"]

Floats = npt.NDArray[np.float64]


class Arrivals(Protocol):
    """A law with its figures. `repr` tells two different ones apart."""

    @property
    def rate_per_s(self) -> float:
        """Mean over a long time."""

    @property
    def steady(self) -> bool:
        """Whether time 0 is like any other time."""

    def expected(self, until_ns: int) -> float:
        """Mean count before `until_ns`."""

    def lots(self, key: int) -> Iterator[Floats]:
        """Ascending times in ns, BATCH_ROWS at a time, without an end. `key`: a stream of draws."""


class ArrivalLaw(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def example(self) -> str: ...
    @property
    def parameters(self) -> tuple[Parameter[Any], ...]: ...
    def of(self, rate_per_s: float, given: Given) -> Arrivals:
        """Raises InvalidInput for a parameter that is missing or wrong."""


@cache
def laws() -> Mapping[str, ArrivalLaw]:
    """All laws by name."""
    found = [getattr(import_module(f"{__name__}.{module.name}"), "LAW", None) for module in pkgutil.iter_modules(__path__)]
    return {law.name: law for law in sorted((law for law in found if law), key=lambda law: str(law.name))}
