"""How many different keys come in each stretch of time: the working set over time, in constant memory.

One HyperLogLog of 2,048 registers a stretch (Flajolet et al. 2007, read by Ertl's improved raw estimator, arXiv 1702.01284): a standard
error of 2.3 %. There are 32 to 64 stretches; two become one, register by register, whenever the trace outgrows them.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.draws import mix_all
from traces.portrait.bins import Ints

_STRETCHES = 64
_BITS = 11
_REGISTERS = 1 << _BITS
_RANKS = 64 - _BITS
_FIRST_NS = 1_000
_SALT = np.uint64(0xD15717C7)
ERROR = 1.04 / math.sqrt(_REGISTERS)


@dataclass(frozen=True)
class WorkingSet:
    """Different keys in each stretch of time since the first arrival, each within about 2.3 %."""

    stretch_ns: int
    keys: tuple[float, ...]


class Distinct:
    """Add keys with their arrivals, in order; read `working_set`."""

    def __init__(self) -> None:
        self._stretch_ns = _FIRST_NS
        self._registers: npt.NDArray[np.uint8] = np.zeros((_STRETCHES, _REGISTERS), dtype=np.uint8)
        self._first: int | None = None
        self._last = 0

    def add(self, keys: npt.NDArray[np.unsignedinteger], arrival_ns: Ints) -> None:
        if not len(keys):
            return
        self._first = int(arrival_ns[0]) if self._first is None else self._first
        self._last = int(arrival_ns[-1])
        while self._last - self._first >= _STRETCHES * self._stretch_ns:
            self._registers[: _STRETCHES // 2] = np.maximum(self._registers[0::2], self._registers[1::2])
            self._registers[_STRETCHES // 2 :] = 0
            self._stretch_ns *= 2
        hashes = mix_all(keys.astype(np.uint64) ^ _SALT)
        register = (hashes >> np.uint64(_RANKS)).astype(np.int64)
        # The bit length of the lower bits, by the exponent of a double: rounding up can only happen next to a power of two.
        length = np.frexp((hashes & np.uint64((1 << _RANKS) - 1)).astype(np.float64))[1]
        rank = (_RANKS - np.minimum(length, _RANKS) + 1).astype(np.uint8)
        stretch = (arrival_ns - self._first) // self._stretch_ns
        np.maximum.at(self._registers.reshape(-1), stretch * _REGISTERS + register, rank)

    def working_set(self) -> WorkingSet | None:
        """None where no key was added. The last stretch is whole or left out, unless it is the only one."""
        if self._first is None:
            return None
        used = max(1, (self._last - self._first) // self._stretch_ns)
        return WorkingSet(self._stretch_ns, tuple(_estimate(row) for row in self._registers[:used]))


def _estimate(registers: npt.NDArray[np.uint8]) -> float:
    """Ertl's improved raw estimator, which needs no correction for few or many."""
    often = np.bincount(registers, minlength=_RANKS + 2).astype(float)
    if often[0] == _REGISTERS:
        return 0.0
    z = _REGISTERS * _tau(1 - often[_RANKS + 1] / _REGISTERS)
    for rank in range(_RANKS, 0, -1):
        z = 0.5 * (z + often[rank])
    z += _REGISTERS * _sigma(often[0] / _REGISTERS)
    return float(_REGISTERS**2 / (2 * math.log(2)) / z)


def _sigma(x: float) -> float:
    y, z = 1.0, x
    while True:
        x *= x
        before, z, y = z, z + x * y, y * 2
        if z == before:
            return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x = math.sqrt(x)
        before, y = z, y * 0.5
        z -= (1 - x) ** 2 * y
        if z == before:
            return z / 3
