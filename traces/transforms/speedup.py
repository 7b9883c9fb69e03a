"""speedup s: arrivals divided by s; 2 is twice as fast. Service times and sizes stay."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.schema import ints, with_columns
from traces.stream import StreamTrace, Trace
from traces.transforms.spec import TransformSpec


class Speedup:
    name = "speedup"
    summary = "arrivals divided by the value: 2 is twice as fast and half as long, 0.5 half as fast and twice as long"
    stage = "pace"
    value = "the factor, above 0"
    changes = "rate (and length)"
    needs = ""
    options: Mapping[str, str] = MappingProxyType({})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        factor = spec.number(1e-9, 1e12, "a factor above 0: 2 is twice as fast")

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                # Correctly rounded division is monotone: the order stays. Exact to 104 days of nanoseconds.
                arrival = np.rint(ints(batch, "arrival_ns") / factor).astype(np.int64)
                yield with_columns(batch, {"arrival_ns": arrival})

        meta = trace.meta
        meta = dataclasses.replace(
            meta,
            span_ns=None if meta.span_ns is None else round(meta.span_ns / factor),
            source_offset_ns=0,  # the source's clock has no meaning at another speed
            t0_unix_ns=None,
            arrival_resolution_ns=max(1, math.ceil(meta.arrival_resolution_ns / factor)),
        )
        rate = trace.rate_hint_per_s
        return StreamTrace(
            meta,
            make,
            trace.identity,
            trace.rows_hint,
            trace.bounded,
            None if rate is None else rate * factor,
        )


TRANSFORM = Speedup()
