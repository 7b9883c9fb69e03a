"""Which records of calls are one call, and which call is the parent of which: pure functions on columns of codes, equal for equal names."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def grouped(*codes: npt.NDArray[np.integer]) -> Ints:
    """One number for each row, equal where all of `codes` are."""
    group = np.zeros(len(codes[0]), dtype=np.int64)
    for each in codes:
        _, place = np.unique(each, return_inverse=True)
        _, group = np.unique(group * (int(place.max(initial=0)) + 1) + place, return_inverse=True)
    return group


def redundant(callee: Mask, call: Ints, caller: Ints, record: Ints) -> Mask:
    """Callee's records to leave out: those equal in everything (`record`) to one before, and as many as there are callers' records of the
    same call (`call`); of those still left, as many as there are unpaired callers' records of the same caller (`caller`), for the two sides
    may name the service that is called differently.
    """
    gone, unpaired = callee & (_rank(record, callee) > 0), ~callee
    for group in (call, caller):
        left = callee & ~gone
        callers, callees = np.bincount(group[unpaired], minlength=group.max() + 1), np.bincount(group[left], minlength=group.max() + 1)
        paired = unpaired & (_rank(group, unpaired) < callees[group])
        gone |= left & (_rank(group, left) < callers[group])
        unpaired &= ~paired
    return gone


def _rank(group: Ints, among: Mask) -> Ints:
    """How many rows of `among` in the same group come before each of them; 0 for others."""
    rows = np.flatnonzero(among)
    order = np.argsort(group[rows], kind="stable")
    ordered = group[rows][order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(ordered) else np.empty(0, dtype=np.int64)
    rank = np.zeros(len(group), dtype=np.int64)
    rank[rows[order]] = np.arange(len(rows)) - np.repeat(starts, np.diff(np.concatenate((starts, [len(rows)]))))
    return rank


def parents(trace: Ints, place: Ints, above: Ints, called: Ints, calls: Ints) -> Ints:
    """The row of each call's parent, -1 for none: in its trace, at the place `above` its own, the first row that called the service which
    calls here, or else the first row.
    """
    rows = len(trace)
    found = np.full(rows, -1, dtype=np.int64)
    for there, here in (((trace, place), (trace, above)), ((trace, place, called), (trace, above, calls))):
        group = grouped(*(np.concatenate(pair) for pair in zip(there, here, strict=True)))
        first = np.full(int(group.max(initial=0)) + 1, -1, dtype=np.int64)
        first[group[:rows][::-1]] = np.arange(rows)[::-1]  # the first one is written last
        found = np.where(first[group[rows:]] >= 0, first[group[rows:]], found)
    return found
