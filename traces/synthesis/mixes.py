"""A choice among a few values by weight: ops, lifetimes. Written `get:0.9/set:0.1`, `1h:0.8/1d:0.2`; weights need not sum to 1."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.draws import U64, uniform_all
from traces.errors import InvalidInput
from traces.quantities import parse_duration
from traces.schema import OPS
from traces.synthesis.spec import Form

_KNOWN = {op for ops in OPS.values() for op in ops}


@dataclass(frozen=True)
class Mix:
    """`cumulative`: shares up to each value, the last 1."""

    values: tuple[str | int, ...]
    shares: tuple[float, ...]
    cumulative: tuple[float, ...]

    def which(self, key: int, seq: U64) -> npt.NDArray[np.int64]:
        """The index of each row's value."""
        return np.searchsorted(np.array(self.cumulative[:-1]), uniform_all(key, seq), side="right")

    def among(self, words: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """For each value whether it is one of these."""
        return np.array([value in words for value in self.values])


def mix_of(pairs: list[tuple[str | int, float]]) -> Mix:
    total = math.fsum(weight for _, weight in pairs)
    shares = [weight / total for _, weight in pairs]
    return Mix(tuple(value for value, _ in pairs), tuple(shares), (*np.cumsum(shares)[:-1].tolist(), 1.0))


def _mix(said: str, value: Callable[[str, str], str | int]) -> Form[Mix]:
    def read(text: str, where: str) -> Mix:
        pairs: list[tuple[str | int, float]] = []
        for part in text.split("/"):
            name, colon, weight = part.rpartition(":")
            try:
                amount = float(weight) if colon else -1.0
            except ValueError:
                amount = -1.0
            if not 0 <= amount < math.inf:
                raise InvalidInput(f"{where}: {part!r}; expected {said}")
            pairs.append((value(name, where), amount))
        if not math.fsum(weight for _, weight in pairs) or len({name for name, _ in pairs}) < len(pairs):
            raise InvalidInput(f"{where}: {text!r}; expected each value once and some weight above 0")
        return mix_of(pairs)

    return Form(said, read)


def _op(text: str, where: str) -> str:
    if text not in _KNOWN:
        raise InvalidInput(f"{where}: op {text!r}; expected a known one such as get, set or delete")
    return text


def _milliseconds(text: str, where: str) -> int:
    return parse_duration(text, where) // 1_000_000


OPERATIONS: Form[Mix] = _mix("OP:WEIGHT/OP:WEIGHT", _op)
LIFETIMES: Form[Mix] = _mix("TIME:WEIGHT/TIME:WEIGHT", _milliseconds)
