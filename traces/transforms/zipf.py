"""zipf s: popularity follows Zipf's law of exponent s over the very objects (keys, paths, functions) that the trace has, in the order
of their popularity; times, ops and sizes stay with their rows.

As few requests as possible get another object: one that is asked for too often loses an even share of its requests over time, and these
go to those asked for too rarely. So a trace that already follows the law stays as it is, and reuse is disturbed no more than the law
demands. Counts are the law's own, rounded, not free draws: 10^6 draws at s = 1.2 show an exponent of 1.16. Two passes; memory is that
of the distinct objects.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import permuted, stream, uniform_all
from traces.objects import Objects, objects_of, occurrence
from traces.stream import StreamTrace, Trace, remade
from traces.transforms.spec import TransformSpec
from traces.zipf import fit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
STEEPEST = 10.0


class Zipf:
    name = "zipf"
    summary = "popularity of keys, paths or functions with this exponent; 0 asks for all alike"
    stage = "bend"
    value = f"the exponent, 0 to {STEEPEST:g}"
    changes = "popularity"
    needs = "two passes; memory of the distinct objects"
    options: Mapping[str, str] = MappingProxyType({})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        exponent = spec.number(0, STEEPEST, f"an exponent from 0 to {STEEPEST:g}")
        objects = objects_of(trace, f"transform {self.name}")
        wanted = quotas(len(objects), exponent, objects.rows)
        moved = int(np.maximum(objects.counts - wanted, 0).sum())
        make = _Remapped(trace, objects, wanted, stream(seed, trace.meta.name, self.name))
        return remade(trace, make, trace.meta.recording(objects=len(objects), requests_moved=moved))

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The exponent under which the counts of the compiled trace are likeliest, over all objects that the nominal one asks for: those
        that the law leaves without a request are part of it.
        """
        counts, there = (objects_of(each, f"transform {self.name}").counts for each in (made, nominal))
        unseen = max(0, len(there) - len(counts))
        fitted = fit(np.append(counts, 0), np.append(np.ones(len(counts)), unseen)) if unseen else fit(counts, np.ones(len(counts)))
        return fitted.exponent if fitted else None


def quotas(objects: int, exponent: float, rows: int) -> Ints:
    """How many of `rows` requests each rank gets; the sum is `rows`."""
    ladder = np.cumsum(np.arange(1, objects + 1, dtype=np.float64) ** -exponent)
    edges = np.floor(ladder / ladder[-1] * rows + 0.5).astype(np.int64)
    counts: Ints = np.diff(edges, prepend=0)
    return counts


@dataclasses.dataclass(frozen=True)
class _Remapped:
    trace: Trace
    objects: Objects
    wanted: Ints
    key: int

    def __call__(self) -> Iterator[pa.RecordBatch]:
        counts, wanted = self.objects.counts, self.wanted
        over = counts > wanted
        short = np.flatnonzero(counts < wanted)
        filled = np.cumsum(wanted[short] - counts[short])
        moving = int(filled[-1]) if len(filled) else 0
        phase = uniform_all(self.key, np.arange(len(counts), dtype=np.uint64))
        seen = np.zeros(len(counts), dtype=np.int64)
        moved = 0
        for batch in self.trace.batches():
            ranks = self.objects.ranks(batch)
            at = np.flatnonzero(over[ranks] & (ranks >= 0))
            rank = ranks[at]
            nth = seen[rank] + occurrence(rank)
            np.add.at(seen, rank, 1)
            # The n-th request stays if its share fills another whole one: of `counts` exactly `wanted` do (products below 2^53 are exact).
            stays = [np.floor(each * wanted[rank] / counts[rank] + phase[rank]) for each in (nth, nth + 1)]
            leaves = stays[0] == stays[1]
            at = at[leaves]
            if not len(at):
                yield batch
                continue
            slots = permuted(np.arange(moved, moved + len(at), dtype=np.uint64), moving, self.key)
            moved += len(at)
            ranks[at] = short[np.searchsorted(filled, slots.astype(np.int64), side="right")]
            yield self.objects.named(batch, ranks)


TRANSFORM = Zipf()
