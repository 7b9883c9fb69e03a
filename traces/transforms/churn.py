"""churn s: in every period (option, default 10s) this share of the keys is deleted and others come in their place, each key at its own
moment. The first request for a new key becomes an insert (set, PUT) of the size that it knows, and a delete of the old key goes before
it: these deletes are the only requests that are added. With ops=none only the keys change. Two passes; memory is that of the distinct
keys.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import stream, uniform_all
from traces.drift import kept_mass
from traces.errors import InvalidInput
from traces.key_copies import KeyCopies, key_copies
from traces.objects import Objects, grouped, objects_of
from traces.ops import with_ops
from traces.schema import ints, with_columns
from traces.stream import StreamTrace, Trace, joined, remade, rows_at, timed
from traces.transforms.spec import TransformSpec

_PERIOD = "10s"
_OPS = {"kv": ("set", "delete"), "http": ("PUT", "DELETE")}


class Churn:
    name = "churn"
    summary = "in every period this share of the keys is deleted, and others are inserted in their place"
    stage = "bend"
    value = "the share, 0 to 1"
    changes = "keys over time"
    needs = "two passes; memory of the distinct keys"
    options: Mapping[str, str] = MappingProxyType(
        {"period": f"a time (default {_PERIOD})", "ops": "both: an insert and a delete for each (default); none: only the keys change"}
    )

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        share = spec.number(0, 1, "the share of the keys that is replaced in a period, from 0 to 1")
        period = spec.duration_ns("period", _PERIOD)
        ops = None
        if spec.word("ops", "both", "none") == "both":
            ops = _OPS.get(trace.meta.kinds[0]) if len(trace.meta.kinds) == 1 else None
            if ops is None:
                raise InvalidInput(
                    f"transform {self.name}: {trace.meta.name} is of kind {', '.join(trace.meta.kinds) or 'unknown'}, without inserts and "
                    "deletes; expected kv or http; give ops=none to change the keys alone"
                )
        asks = f"transform {self.name}"
        objects = objects_of(trace, asks)
        size = timed(objects.size, trace, asks)
        space = key_copies(trace, int(share * size.span_ns / period) + 3, asks)
        born = uniform_all(stream(seed, trace.meta.name, self.name), np.arange(len(objects), dtype=np.uint64))
        replaced = remade(trace, _Replaced(trace, objects, space, born, share / period, size.first_ns, ops))
        if ops is None:
            return replaced
        return dataclasses.replace(replaced, meta=dataclasses.replace(trace.meta, rows=None))

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """How much of a period's popularity is gone in the next, beyond what the trace loses by itself."""
        kept = [kept_mass(each, spec.duration_ns("period", _PERIOD)) for each in (made, nominal)]
        return 1 - kept[0] / kept[1] if kept[0] is not None and kept[1] else None


@dataclasses.dataclass(frozen=True)
class _Replaced:
    trace: Trace
    objects: Objects
    space: KeyCopies
    born: npt.NDArray[np.float64]
    share_per_ns: float
    first_ns: int
    ops: tuple[str, str] | None

    def __call__(self) -> Iterator[pa.RecordBatch]:
        latest = np.zeros(len(self.objects), dtype=np.int64)
        done = 0
        for batch in self.trace.batches():
            ranks = self.objects.ranks(batch)
            named = ranks >= 0
            age = self.share_per_ns * (ints(batch, "arrival_ns") - self.first_ns)
            generations = np.where(named, np.floor(age + self.born[ranks]), 0).astype(np.int64)
            out = self.space.named(batch, generations)
            if self.ops is not None:
                births, before = _first_of_a_generation(ranks, generations, latest)
                out = self._with_births(batch, out, births, before, done)
                done += out.num_rows
            yield out

    def _with_births(
        self, batch: pa.RecordBatch, out: pa.RecordBatch, births: npt.NDArray[np.int64], before: npt.NDArray[np.int64], done: int
    ) -> pa.RecordBatch:
        """`out` with inserts at `births`, each after a delete of that key's generation `before`; rows counted anew from `done`."""
        assert self.ops is not None
        insert, delete = self.ops
        if len(births):
            born = np.zeros(out.num_rows, dtype=np.bool_)
            born[births] = True
            ends = with_ops(self.space.named(rows_at(batch, births), before), np.ones(len(births), np.bool_), delete)
            out = joined([with_ops(out, born, insert), ends])
            # A delete stands right before the row it belongs to.
            out = rows_at(out, np.argsort(np.concatenate((np.arange(batch.num_rows) * 2 + 1, births * 2)), kind="stable"))
        return with_columns(out, {"seq": np.arange(done, done + out.num_rows, dtype=np.uint64), "parent_seq": None})


def _first_of_a_generation(
    ranks: npt.NDArray[np.int64], generations: npt.NDArray[np.int64], latest: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows that are the first of their object's generation, ascending, and which generation was there before. `latest` is that of
    each object so far, and is carried on.
    """
    order = grouped(ranks)
    order = order[ranks[order] >= 0]
    rank, generation = ranks[order], generations[order]
    before = np.empty(len(order), dtype=np.int64)
    before[1:] = generation[:-1]
    starts = np.flatnonzero(np.diff(rank, prepend=-1))
    before[starts] = latest[rank[starts]]
    ends = np.append(starts[1:], len(rank)) - 1
    latest[rank[starts]] = generation[ends] if len(starts) else 0
    new = generation > before
    rows, old = order[new], before[new]
    by_row = np.argsort(rows)
    return rows[by_row], old[by_row]


TRANSFORM = Churn()
