"""grow g: the working set grows by this share of the key space in every period (option, default 10s), as copies of keys come to be: after
t, a key has 1 + g t / period of them, each from its own moment on, and its requests are shared among those that there are. Times, ops and
sizes stay.
Two passes.
"""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import brentq

from traces.draws import stream, uniform_all
from traces.drift import counts_by_period
from traces.key_copies import key_copies, owners
from traces.schema import ints
from traces.stream import StreamTrace, Trace, extent, remade, timed
from traces.transforms.spec import TransformSpec

_PERIOD = "10s"
_FEWEST_REPEATS = 1000
_MOST_GROWTH = 1e4
_PARTS = (8, 1)
"""Into so many parts a period is cut to be read, if they have requests enough: what is asked for often also finds the copies that come
to be within a part, which are not there yet in its middle.
"""


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
        size = timed(extent(trace), trace, "transform grow")
        space = key_copies(trace, int(growth * size.span_ns / period) + 3, f"transform {self.name}")
        births, picks = stream(seed, trace.meta.name, "grow births"), stream(seed, trace.meta.name, "grow picks")

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                grown = growth / period * (ints(batch, "arrival_ns") - size.first_ns)
                there = 1 + np.floor(grown + uniform_all(births, owners(batch)))
                yield space.named(batch, (uniform_all(picks, ints(batch, "seq")) * there).astype(np.int64))

        return remade(trace, make)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The growth under which as many different keys are asked for in the parts of the periods as there are, from how often each is
        without it. None where too few requests of a period are for the same key.
        """
        period = spec.duration_ns("period", _PERIOD)
        return next((read for parts in _PARTS if (read := _growth(made, nominal, period, parts)) is not None), None)


def _growth(made: Trace, nominal: Trace, period: int, parts: int) -> float | None:
    part = max(1, period // parts)
    usual = [(at * part / period, *np.unique(counts, return_counts=True)) for at, counts in counts_by_period(nominal, part)]
    different = sum(len(counts) for _, counts in counts_by_period(made, part))

    def too_few(growth: float) -> float:
        return sum(float(_different(times, 1 + growth * at) @ keys) for at, times, keys in usual) - different

    if sum(float((times - 1) @ keys) for _, times, keys in usual) < _FEWEST_REPEATS:
        return None
    if too_few(0) >= 0:
        return 0.0
    return float(brentq(too_few, 0, _MOST_GROWTH)) if too_few(_MOST_GROWTH) > 0 else None


def _different(times: npt.NDArray[np.int64], copies: float) -> npt.NDArray[np.float64]:
    """How many copies of a key so many requests for it ask for, on average; where a key has 2.3 copies, some have 2 and some 3."""
    whole = math.floor(copies)
    fewer, more = (n * (1 - (1 - 1 / n) ** times.astype(np.float64)) for n in (whole, whole + 1))
    asked: npt.NDArray[np.float64] = fewer + (copies - whole) * (more - fewer)
    return asked


TRANSFORM = Grow()
