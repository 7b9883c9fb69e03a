"""window a..b: requests of [a, b) after the trace's start, a becoming 0. Times are the source's, before any
speedup.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.errors import InvalidInput
from traces.quantities import parse_duration
from traces.schema import ints, with_columns
from traces.stream import StreamTrace, Trace, limit
from traces.transforms.spec import TransformSpec


class Window:
    name = "window"
    summary = "the requests of [from, to), such as 10s..20s; either end may be left out"
    stage = "source"
    value = "FROM..TO, such as 10s..20s; either may be left out"
    changes = "length"
    needs = ""
    options: Mapping[str, str] = MappingProxyType({"from": "its start, a time", "to": "its end, a time"})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        start, end = _ends(spec)
        cut = trace if end is None else limit(trace, end)

        def make() -> Iterator[pa.RecordBatch]:
            for batch in cut.batches():
                arrival = ints(batch, "arrival_ns")
                first = int(np.searchsorted(arrival, start, side="left"))
                if first < len(arrival):
                    yield with_columns(batch.slice(first), {"arrival_ns": arrival[first:] - start})

        meta = dataclasses.replace(
            trace.meta,
            rows=None,
            span_ns=None,
            source_offset_ns=trace.meta.source_offset_ns + start,
            t0_unix_ns=None if trace.meta.t0_unix_ns is None else trace.meta.t0_unix_ns + start,
            cut=f"[{start} ns, {'end' if end is None else f'{end} ns'}) of: {trace.meta.cut}",
        )
        return StreamTrace(meta, make, trace.identity, None, cut.bounded, trace.rate_hint_per_s)


def _ends(spec: TransformSpec) -> tuple[int, int | None]:
    first, last = spec.options.get("from", ""), spec.options.get("to", "")
    if spec.value is not None:
        text = str(spec.value)
        first, dots, last = text.partition("..")
        if not dots:
            raise InvalidInput(f"transform window: value {text!r}; expected FROM..TO such as 10s..20s")
    start = parse_duration(first, "transform window: from") if first else 0
    end = parse_duration(last, "transform window: to") if last else None
    if end is not None and end <= start:
        raise InvalidInput(f"transform window: {first or 0}..{last} is empty; expected the end after the start")
    return start, end


TRANSFORM = Window()
