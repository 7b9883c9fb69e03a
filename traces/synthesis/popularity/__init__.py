"""Which key a request asks for: one law a module. Keys are numbered from 0, the most popular first (but for `latest`: the newest last).

The key of a row depends on seed and row number alone, and under `latest` also on how many keys were inserted before it.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from traces.draws import U64

__all__ = ["Ints", "Popularity"]

Ints = npt.NDArray[np.int64]


class Popularity(Protocol):
    """`repr` tells two different ones apart."""

    @property
    def key_space(self) -> int:
        """Keys that are there at the start."""

    @property
    def inserts(self) -> bool:
        """Whether a set makes a new key."""

    def keys(self, key: int, seq: U64, there: Ints) -> U64:
        """The keys of rows `seq`; `there`: how many keys were there before each. `key`: a stream of draws."""
