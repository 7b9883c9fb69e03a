"""How large something is (a value or a key in bytes, a prompt in tokens): one law a module, with a `LAW`, by its word: `lognormal:300:1.2`.

A size depends on the seed and on the number of what it is the size of, so a key has one size for all its requests.
"""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Protocol

import numpy as np
import numpy.typing as npt

from traces.draws import U64
from traces.errors import InvalidInput
from traces.quantities import parse_size
from traces.synthesis.spec import Form, number

__all__ = ["MOST_BYTES", "Floats", "SizeLaw", "Sizes", "figure", "laws", "size_at_least_1", "size_form"]

MOST_BYTES = 512 * 2**20
"""The largest value that Redis takes; heavy tails are cut there."""
Floats = npt.NDArray[np.float64]


class Sizes(Protocol):
    """A law with its figures. `repr` tells two different ones apart."""

    def drawn(self, key: int, ids: U64) -> Floats:
        """One size for each id, before it is rounded and cut. `key`: a stream of draws."""


class SizeLaw(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def form(self) -> str:
        """As it is written, such as uniform:LOW:HIGH."""

    @property
    def summary(self) -> str: ...
    @property
    def example(self) -> str: ...
    def of(self, figures: list[str], where: str) -> Sizes | None:
        """None where the number of figures does not fit. Raises InvalidInput for a figure that is wrong."""


@cache
def laws() -> Mapping[str, SizeLaw]:
    """All laws by name."""
    found = [getattr(import_module(f"{__name__}.{module.name}"), "LAW", None) for module in pkgutil.iter_modules(__path__)]
    return {law.name: law for law in sorted((law for law in found if law), key=lambda law: str(law.name))}


def sizes(law: Sizes, key: int, ids: U64, least: int = 0, most: int = MOST_BYTES) -> npt.NDArray[np.int64]:
    """Whole sizes, cut at both ends."""
    whole: npt.NDArray[np.int64] = np.clip(np.rint(law.drawn(key, ids)), least, most).astype(np.int64)
    return whole


def _read(text: str, where: str) -> Sizes:
    name, *figures = text.split(":")
    if name[:1].isdigit():
        name, figures = "constant", [name, *figures]
    law = laws().get(name)
    found = law.of(figures, where) if law is not None else None
    if found is None:
        expected = f"expected {law.form}" if law is not None else f"expected {', '.join(each.form for each in laws().values())}"
        raise InvalidInput(f"{where}: {text!r}; {expected}, of at most 512MiB")
    return found


def size_form() -> Form[Sizes]:
    return Form("a size or a law of sizes", _read)


def size_at_least_1(text: str, where: str) -> int:
    return max(1, parse_size(text, where))


def figure(text: str, where: str, low: float, high: float) -> float:
    return number(low, high).read(text, where)
