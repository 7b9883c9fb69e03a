"""diurnal a: the rate rises and falls as a sine by this share of its mean, once a period (option, default 60s: a day made short); from
1 - a to 1 + a times what it was. The count, the order, the span and the contents stay. Two passes.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from traces.schema import ints
from traces.stream import StreamTrace, Trace, extent, remade, timed
from traces.transforms.spec import TransformSpec
from traces.warp import Shape, Warped

_POINTS = 1 << 16
_PERIOD = "60s"


class Diurnal:
    name = "diurnal"
    summary = "the rate rises and falls by this share of its mean, once a period"
    stage = "bend"
    value = "the amplitude, a share of the mean from 0 to 1"
    changes = "rate over time"
    needs = "two passes"
    options: Mapping[str, str] = MappingProxyType(
        {"period": f"a time (default {_PERIOD})", "phase": "where in its period it begins, 0 to 1 (default 0: at the mean, rising)"}
    )

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        amplitude = spec.number(0, 1, "an amplitude from 0 to 1, a share of the mean rate")
        period = spec.duration_ns("period", _PERIOD)
        phase = spec.option("phase", 0, 0, 1, "a share of the period from 0 to 1")
        time = np.linspace(0, 1, _POINTS + 1)
        turn = 2 * np.pi
        requests = time + amplitude / turn * (np.cos(turn * phase) - np.cos(turn * (time + phase)))
        meta = dataclasses.replace(trace.meta, t0_unix_ns=None)  # another clock than the source's
        return remade(trace, Warped(trace, timed(extent(trace), trace, f"transform {self.name}"), period, Shape(time, requests)), meta)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The share of the mean by which the rate swings with the period, beyond what it did by itself: twice the size of the requests'
        mean phase vector, over whole periods.
        """
        period = spec.duration_ns("period", _PERIOD)
        phases = [_vector(each, period) for each in (made, nominal)]
        return None if phases[0] is None or phases[1] is None else 2 * abs(phases[0] - phases[1])


def _vector(trace: Trace, period_ns: int) -> complex | None:
    """The mean of the requests' phases as unit vectors; None within less than a period."""
    size = extent(trace)
    until = size.first_ns + (size.span_ns + size.mean_gap_ns) // period_ns * period_ns
    total, rows = 0j, 0
    for batch in trace.batches():
        arrival = ints(batch, "arrival_ns")
        arrival = arrival[arrival < until]
        total += complex(np.exp((2j * np.pi / period_ns) * (arrival - size.first_ns)).sum())
        rows += len(arrival)
    return total / rows if rows else None


TRANSFORM = Diurnal()
