"""spread poisson|equidistant|start: coarse stamps become arrivals inside their slot, by the integer rule of
traces.draws.

A slot is one stamp of the source, as wide as its resolution; the entity is the trace's name. Holds the rows
of one slot in memory. A trace without any times needs the option `rate` and is placed at that rate from 0.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import SPREAD_MODES, U64, slot_offsets, stream, uniform_all
from traces.errors import InvalidInput
from traces.quantities import parse_rate
from traces.schema import ints, with_columns
from traces.stream import StreamTrace, Trace, joined
from traces.transforms.spec import TransformSpec


class Spread:
    name = "spread"
    summary = "coarse stamps to arrivals inside their slot: poisson, equidistant or start"
    stage = "source"
    value = "poisson, equidistant or start"
    changes = "gaps"
    needs = "memory of the requests of one stamp"
    options: Mapping[str, str] = MappingProxyType({"rate": "for a trace without times, such as 1000/s"})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        mode = str(spec.value)
        if mode not in SPREAD_MODES:
            raise InvalidInput(f"transform spread: value {mode!r}; expected one of {', '.join(SPREAD_MODES)}")
        key = stream(seed, trace.meta.name, "arrival")
        meta = dataclasses.replace(
            trace.meta,
            arrival_model="dithered",
            expand_mode=mode,
            expand_seed=seed,
            arrival_resolution_ns=1,
            span_ns=None,
        )
        rate = trace.rate_hint_per_s
        batches: _Placed | _Spread
        if trace.meta.arrival_model == "none":
            if "rate" not in spec.options or mode == "start":
                raise InvalidInput(
                    f"transform spread: {trace.meta.name} has no times at all; expected a rate to place its "
                    "requests, and the mode poisson or equidistant; give a rate, such as 1000/s"
                )
            rate = parse_rate(spec.options["rate"], "transform spread: rate")
            batches = _Placed(trace, rate, mode, key)
        else:
            batches = _Spread(trace, mode, key)
        return StreamTrace(meta, batches, trace.identity, trace.rows_hint, trace.bounded, rate)


@dataclasses.dataclass(frozen=True)
class _Placed:
    """Rows without times, at a rate."""

    trace: Trace
    rate_per_s: float
    mode: str
    key: int

    def __call__(self) -> Iterator[pa.RecordBatch]:
        done, clock_ns, gap_ns = 0, 0.0, 1e9 / self.rate_per_s
        for batch in self.trace.batches():
            index = np.arange(done, done + batch.num_rows, dtype=np.uint64)
            done += batch.num_rows
            if self.mode == "equidistant":
                exact = index.astype(np.float64) * gap_ns
            else:
                exact = clock_ns + np.cumsum(-np.log(uniform_all(self.key, index))) * gap_ns
                clock_ns = float(exact[-1]) if len(exact) else clock_ns
            yield with_columns(batch, {"arrival_ns": np.floor(exact).astype(np.int64)})


@dataclasses.dataclass(frozen=True)
class _Spread:
    """Rows with coarse times, each inside its slot. A slot may go on in the next batch, so the last one waits
    for it.
    """

    trace: Trace
    mode: str
    key: int

    def __call__(self) -> Iterator[pa.RecordBatch]:
        width, offset = self.trace.meta.arrival_resolution_ns, self.trace.meta.source_offset_ns
        held: list[pa.RecordBatch] = []
        held_slot = 0
        for batch in self.trace.batches():
            if not batch.num_rows:
                continue
            slots = (ints(batch, "arrival_ns") + offset) // width
            if held and slots[-1] == held_slot:
                held.append(batch)
                continue
            split = int(np.searchsorted(slots, slots[-1], side="left"))
            done = [*held, batch.slice(0, split)] if split else held
            if done:
                yield self._within(joined(done), width, offset)
            held, held_slot = [batch.slice(split)], int(slots[-1])
        if held:
            yield self._within(joined(held), width, offset)

    def _within(self, batch: pa.RecordBatch, width: int, offset: int) -> pa.RecordBatch:
        """Whole slots: places are drawn by index and handed out in the order of the rows."""
        slots = (ints(batch, "arrival_ns") + offset) // width
        _, first, index, counts = np.unique(slots, return_index=True, return_inverse=True, return_counts=True)
        nth = np.arange(len(slots), dtype=np.int64) - first[index]
        places = slot_offsets(self.key, _u64(slots), _u64(nth), _u64(counts[index]), width, self.mode)
        # Slots ascend and places stay inside them, so one sort of all sorts within each.
        return with_columns(batch, {"arrival_ns": np.sort(slots * width + places) - offset})


def _u64(values: npt.NDArray[np.int64]) -> U64:
    return values.astype(np.uint64)


TRANSFORM = Spread()
