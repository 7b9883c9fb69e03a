"""How what is asked for changes from one period to the next. Memory is that of two periods' distinct objects."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from traces.draws import U64
from traces.key_copies import owners
from traces.schema import ints
from traces.stream import Trace

Floats = npt.NDArray[np.float64]


def periods(trace: Trace, period_ns: int) -> Iterator[tuple[int, U64]]:
    """The objects of the requests of each period that has some, with its number; periods begin at the first arrival."""
    number = 0
    held: list[U64] = []
    first: int | None = None
    for batch in trace.batches():
        if not batch.num_rows:
            continue
        arrival, objects = ints(batch, "arrival_ns"), owners(batch)
        first = int(arrival[0]) if first is None else first
        number_of = (arrival - first) // period_ns
        for at in np.split(np.arange(len(arrival)), np.flatnonzero(np.diff(number_of)) + 1):
            if int(number_of[at[0]]) != number and held:
                yield number, np.concatenate(held)
                held = []
            number = int(number_of[at[0]])
            held.append(objects[at])
    if held:
        yield number, np.concatenate(held)


def meetings_by_period(trace: Trace, period_ns: int) -> list[tuple[float, float]]:
    """For each period its middle, in periods, and the share of pairs of its requests that are for one object."""
    found = []
    for number, objects in periods(trace, period_ns):
        counts = np.unique(objects, return_counts=True)[1].astype(np.float64)
        pairs = len(objects) * (len(objects) - 1.0)
        found.append((number + 0.5, float((counts * (counts - 1)).sum()) / pairs if pairs else 0.0))
    return found


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
    for number, objects in periods(trace, period_ns):
        now = _popularity(objects)
        if past is not None and past[0] == number - 1:
            found.append(past[1].common(now))
        past = (number, now)
    return float(np.mean(found)) if found else None


def share_of_a_crowd(inside: U64, outside: U64, crowded: int) -> float:
    """Which share of the requests inside are for what is asked for more there: beside the `crowded` objects that gained most, all
    others must have lost that share.
    """
    names, place = np.unique(np.concatenate((inside, outside)), return_inverse=True)
    within = np.bincount(place[: len(inside)], minlength=len(names)) / len(inside)
    without = np.bincount(place[len(inside) :], minlength=len(names)) / len(outside)
    rest = np.argsort(within - without)[: max(1, len(names) - crowded)]
    usual = float(without[rest].sum())
    return 1 - float(within[rest].sum()) / usual if usual else 1.0
