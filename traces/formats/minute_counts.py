"""Counts of a slot of time, such as a minute, as arrivals within it, by the integer rule of `traces.draws`.

An arrival depends only on its entity's key, its slot, its number in the slot and the slot's count: other entities, other slots and the
window that is read change nothing. Holds one day's counts above zero, some 30 bytes each, and the requests of one slot at a time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from traces.draws import U64, slot_offsets
from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS

Ints = npt.NDArray[np.int64]
MOST_IN_SLOT = 1 << 23
"""Of all entities. The whole of Azure Functions 2019 has under a million a minute."""
_PLACE_BITS = 36


@dataclass(frozen=True)
class Counts:
    """Counts above zero, by slot, then by entity. `row`: which entity; `before`: of the same entity in earlier slots."""

    slot: Ints
    row: Ints
    count: Ints
    before: Ints

    def refuse_fullest(self, path: Path) -> None:
        """Raises InvalidInput for a slot with more requests than are held at a time."""
        if not len(self.slot):
            return
        slots, index = np.unique(self.slot, return_inverse=True)
        totals = np.bincount(index, weights=self.count)  # exact below 2^53
        most = int(np.argmax(totals))
        if totals[most] > MOST_IN_SLOT:
            raise InvalidInput(
                f"{path}: minute {slots[most]}: {int(totals[most])} invocations; expected at most {MOST_IN_SLOT} of all functions"
            )


@dataclass(frozen=True)
class Arrivals:
    """Requests in order of time: which entity, when (slot * slot_ns + place), and its number among the entity's, from 0."""

    row: Ints
    arrival_ns: Ints
    nth: Ints


def fitting(lot: Ints, columns: Sequence[str], path: Path, done: int) -> None:
    """Raises InvalidInput that names the line of a count that cannot be; `done` rows of the csv came before."""
    if (wrong := np.argwhere((lot < 0) | (lot > MOST_IN_SLOT))).size:
        row, column = wrong[0]
        raise InvalidInput(
            f"{path}: line {done + row + 2}: column {columns[column]}: {lot[row, column]}; expected 0 to {MOST_IN_SLOT} invocations; "
            "correct it"
        )


def entities_of(names: Sequence[str]) -> list[str]:
    """What each row is drawn as: its name, and name#2 and on where it comes again, so that no two rows arrive alike."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found


def counts_of(lots: Iterable[Ints], slots: Ints) -> Counts:
    """Of lots of rows, each with a count for each of `slots`, which ascend."""
    rows: list[npt.NDArray[np.int32]] = []
    columns: list[npt.NDArray[np.int16]] = []
    counts, done = [], 0
    for lot in lots:
        row, column = np.nonzero(lot)
        rows.append((row + done).astype(np.int32))
        columns.append(column.astype(np.int16))
        counts.append(lot[row, column])
        done += len(lot)
    if not rows:
        return Counts(*(np.empty(0, np.int64),) * 4)
    each, at, count = np.concatenate(rows), np.concatenate(columns), np.concatenate(counts)
    running = np.cumsum(count) - count
    first = np.searchsorted(each, np.arange(done))  # rows ascend
    base = np.append(running, count.sum())[first]
    order = np.argsort(at, kind="stable")
    whose = each[order].astype(np.int64)
    return Counts(slots[at[order]], whose, count[order], running[order] - base[whose])


def arrivals_of(counts: Counts, keys: U64, slot_ns: int, mode: str) -> Iterator[Arrivals]:
    """In order of time, in lots of BATCH_ROWS. `keys`: one for each row; slot_ns below 2^36."""
    held: list[Arrivals] = []
    for lot in _whole_slots(counts, keys, slot_ns, mode):
        held.append(lot)
        joined = Arrivals(*(np.concatenate(parts) for parts in zip(*(_fields(each) for each in held), strict=True)))
        whole = len(joined.row) // BATCH_ROWS * BATCH_ROWS
        for start in range(0, whole, BATCH_ROWS):
            yield Arrivals(*(values[start : start + BATCH_ROWS] for values in _fields(joined)))
        held = [Arrivals(*(values[whole:] for values in _fields(joined)))]
    if held and len(held[0].row):
        yield held[0]


def _fields(lot: Arrivals) -> tuple[Ints, Ints, Ints]:
    return lot.row, lot.arrival_ns, lot.nth


def _whole_slots(counts: Counts, keys: U64, slot_ns: int, mode: str) -> Iterator[Arrivals]:
    """As many slots at a time as hold BATCH_ROWS requests."""
    starts = np.flatnonzero(np.diff(counts.slot, prepend=-1))
    ends = np.append(starts[1:], len(counts.slot)) if len(starts) else starts
    running = np.concatenate(([0], np.cumsum(counts.count)))
    begin = 0
    for end in ends.tolist():
        if running[end] - running[begin] >= BATCH_ROWS or end == len(counts.slot):
            yield _lot(counts, slice(begin, end), keys, slot_ns, mode)
            begin = end


def _lot(counts: Counts, cells: slice, keys: U64, slot_ns: int, mode: str) -> Arrivals:
    count, row, slot = counts.count[cells], counts.row[cells], counts.slot[cells]
    cell = np.repeat(np.arange(len(count)), count)
    nth = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count)
    each = (np.repeat(values.astype(np.uint64), count) for values in (keys[row], slot, count))
    key, slots, of = each
    places = slot_offsets(key, slots, nth.astype(np.uint64), of, slot_ns, mode)
    # Sorted within their cell, so that a request's number is its order in time.
    places = np.sort((cell << _PLACE_BITS) | places) & ((1 << _PLACE_BITS) - 1)
    arrival = slot[cell] * slot_ns + places
    order = np.argsort(arrival, kind="stable")
    cell = cell[order]
    return Arrivals(row[cell], arrival[order], (counts.before[cells])[cell] + nth[order])
