"""grow g: the working set grows by this share of the key space in every period (option, default 10s), as copies of keys come to be: after
t, a key has 1 + g t / period of them, each from its own moment on, and its requests are shared among those that there are. Times, ops and
sizes stay.
Two passes.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.draws import stream, uniform_all
from traces.drift import meetings_by_period
from traces.key_copies import key_copies, owners
from traces.schema import ints
from traces.stream import StreamTrace, Trace, extent, remade
from traces.transforms.spec import TransformSpec

_PERIOD = "10s"


class Grow:
    name = "grow"
    summary = "the working set grows by this share of the key space in every period"
    stage = "bend"
    value = "the growth, a share of the key space, 0 to 1000"
    changes = "key space over time"
    needs = "two passes"
    options: Mapping[str, str] = MappingProxyType({"period": f"a time (default {_PERIOD})"})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        growth = spec.number(0, 1000, "a share of the key space from 0 to 1000: 1 doubles it in a period")
        period = spec.duration_ns("period", _PERIOD)
        size = extent(trace)
        space = key_copies(trace, int(growth * size.span_ns / period) + 3, f"transform {self.name}")
        births, picks = stream(seed, trace.meta.name, "grow births"), stream(seed, trace.meta.name, "grow picks")

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                grown = growth / period * (ints(batch, "arrival_ns") - size.first_ns)
                there = 1 + np.floor(grown + uniform_all(births, owners(batch)))
                yield space.named(batch, (uniform_all(picks, ints(batch, "seq")) * there).astype(np.int64))

        return remade(trace, make)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """By how much rarer it grows, from period to period, that two requests are for one key: the slope through 1 at the start."""
        period = spec.duration_ns("period", _PERIOD)
        grown = [
            (at, before / now - 1)
            for (at, now), (_, before) in zip(*(meetings_by_period(t, period) for t in (made, nominal)), strict=False)
            if now
        ]
        weight = sum(at * at for at, _ in grown)
        return sum(at * more for at, more in grown) / weight if weight else None


TRANSFORM = Grow()
