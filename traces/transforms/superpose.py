"""superpose k: k copies of the trace on top of each other, each going round from another phase: k times the requests, and gaps that grow
more regular, as when independent users add up. `rate_scale` instead adds requests where the trace is busy.

A copy's sessions are its own; causal parents are dropped. The keys stay the same for all copies (`key_amplify` parts them).
Two passes, and each copy reads the source twice.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import pyarrow as pa

from traces.draws import draw, stream
from traces.errors import InvalidInput
from traces.merging import merged
from traces.rotation import rotated, round_ns
from traces.sessions import own_sessions
from traces.stream import StreamTrace, Trace, extent
from traces.transforms.spec import TransformSpec

MOST = 64


class Superpose:
    name = "superpose"
    summary = "this many copies of the trace on top of each other, each from another phase"
    stage = "bend"
    value = f"how many, 1 to {MOST}"
    changes = "rate"
    needs = "two passes; each copy reads the source twice and holds a batch"
    options: Mapping[str, str] = MappingProxyType({})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        copies = spec.number(1, MOST, f"a whole number of copies from 1 to {MOST}")
        if copies != int(copies):
            raise InvalidInput(f"transform {self.name}: value {spec.value!r}; expected a whole number of copies")
        size = extent(trace)
        period, key = round_ns(size), stream(seed, trace.meta.name, self.name)
        shifts = [0, *((draw(key, 0, copy) * period) >> 64 for copy in range(1, int(copies)))]

        def make() -> Iterator[pa.RecordBatch]:
            return merged([own_sessions(rotated(trace, shift, period), copy) for copy, shift in enumerate(shifts)])

        meta = dataclasses.replace(trace.meta.recording(shifts_ns=shifts), rows=None, span_ns=None)
        if copies > 1 and meta.causality != "open":
            meta = dataclasses.replace(meta, causality="open").noting("superposed requests have no causal parents")
        rate = trace.rate_hint_per_s
        return StreamTrace(meta, make, trace.identity, size.rows * int(copies), rate_hint_per_s=rate and rate * copies)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """How many times as many requests there are."""
        return extent(made).rows / extent(nominal).rows


TRANSFORM = Superpose()
