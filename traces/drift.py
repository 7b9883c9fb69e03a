"""How what is asked for changes from one period to the next. Memory is that of two periods' distinct objects."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, mix_all
from traces.key_copies import owners
from traces.schema import ints
from traces.stream import Trace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


_ENDS = ("delete", "DELETE")
"""Ops that ask for nothing: what is deleted is not popular for it."""


_WHOLE = 0.9
"""The share of a period that a trace must last into it for it to count as a whole one: the last request comes before the end."""


def periods(trace: Trace, period_ns: int, *, whole: bool = False) -> Iterator[tuple[int, U64]]:
    """The objects that the requests of each period ask for, with its number, if there are some; periods begin at the first arrival. Of
    `whole` ones the last is left out where the trace ends within it.
    """
    number = 0
    held: list[U64] = []
    first: int | None = None
    last = 0
    for batch in trace.batches():
        if not batch.num_rows:
            continue
        arrival, objects = ints(batch, "arrival_ns"), owners(batch)
        first, last = int(arrival[0]) if first is None else first, int(arrival[-1])
        number_of = (arrival - first) // period_ns
        asking = _asking(batch)
        for at in np.split(np.arange(len(arrival)), np.flatnonzero(np.diff(number_of)) + 1):
            if int(number_of[at[0]]) != number and held:
                yield number, np.concatenate(held)
                held = []
            number = int(number_of[at[0]])
            held.append(objects[at][asking[at]])
    if held and first is not None and not (whole and (last - first) % period_ns < _WHOLE * period_ns):
        yield number, np.concatenate(held)


def _asking(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    column = batch.column("op")
    asks: npt.NDArray[np.bool_] = np.array([word not in _ENDS for word in column.dictionary.to_pylist()], dtype=np.bool_)[
        column.indices.to_numpy()
    ]
    return asks


def counts_by_period(trace: Trace, period_ns: int) -> Iterator[tuple[float, Ints]]:
    """For each period that has requests its middle, in periods, and how many requests each of its objects has."""
    for number, objects in periods(trace, period_ns):
        yield number + 0.5, np.unique(objects, return_counts=True)[1]


@dataclass(frozen=True)
class _Popularity:
    """Shares of requests by object, objects ascending."""

    objects: U64
    shares: Floats

    def common(self, other: "_Popularity") -> float:
        """The mass that both have."""
        _, mine, theirs = np.intersect1d(self.objects, other.objects, assume_unique=True, return_indices=True)
        return float(np.minimum(self.shares[mine], other.shares[theirs]).sum())


def _popularity(objects: U64) -> _Popularity:
    unique, counts = np.unique(objects, return_counts=True)
    return _Popularity(unique, counts / len(objects))


def kept_mass(trace: Trace, period_ns: int) -> float | None:
    """How much of their popularity a period and the next have in common, on average; None without two that follow each other.

    Chance alone takes some of it, more so where objects have few requests: compare it with that of the same requests unchanged.
    """
    found = []
    past: tuple[int, _Popularity] | None = None
    for number, objects in periods(trace, period_ns, whole=True):
        now = _popularity(objects)
        if past is not None and past[0] == number - 1:
            found.append(past[1].common(now))
        past = (number, now)
    return float(np.mean(found)) if found else None


def kept_hot(trace: Trace, period_ns: int, hot: int) -> float | None:
    """How many of the `hot` objects that have the most requests in a period are among those of the next, as a share of them and on average;
    None without two periods that follow each other. Each object counts the same: the few that have most would else decide alone.
    """
    found = []
    past: tuple[int, U64] | None = None
    for number, objects in periods(trace, period_ns, whole=True):
        names, counts = np.unique(objects, return_counts=True)
        now = names[np.lexsort((mix_all(names ^ np.uint64(number)), -counts))[:hot]]  # equals in another order in each period
        if past is not None and past[0] == number - 1:
            found.append(float(np.isin(past[1], now).mean()))
        past = (number, now)
    return float(np.mean(found)) if found else None


def share_of_a_crowd(inside: U64, outside: U64, crowded: int) -> float:
    """Which share of the requests inside is for the `crowded` objects that gain most there, beyond what they have outside. They are found
    in one half of the requests and counted in the other, so that what chance brings together is no crowd.
    """
    names, place = np.unique(np.concatenate((inside, outside)), return_inverse=True)
    usual = np.bincount(place[len(inside) :], minlength=len(names)) / len(outside)
    halves = [np.bincount(place[: len(inside)][at::2], minlength=len(names)) for at in (0, 1)]
    found = []
    for one, other in (halves, halves[::-1]):
        most = np.argsort(usual - one / one.sum(), kind="stable")[:crowded]
        before = float(usual[most].sum())
        found.append((float(other[most].sum()) / float(other.sum()) - before) / (1 - before) if before < 1 else 0.0)
    return sum(found) / 2
