"""phase_shift d: the trace begins d later (a time, or a share of its length such as 25%), and what came before follows at its end, as
if it went round. The gap across the seam is one mean gap of the trace, unless the option `period` says how long a round is; with it a
shift by the rest of the period gives the trace back. Rows keep their seq. Two passes.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from traces.errors import InvalidInput
from traces.quantities import parse_duration, parse_quantity
from traces.rotation import rotated, round_ns
from traces.stream import StreamTrace, Trace, extent, remade, timed
from traces.transforms.spec import TransformSpec


class PhaseShift:
    name = "phase_shift"
    summary = "begins this much later; what came before follows at the end"
    stage = "bend"
    value = "a time such as 10s, or a share such as 25%"
    changes = "phase"
    needs = "two passes; reads the source twice"
    options: Mapping[str, str] = MappingProxyType(
        {"period": "the length of a round, a time (default: to one mean gap after the last request)"}
    )

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        size = timed(extent(trace), trace, "transform phase_shift")
        period = spec.duration_ns("period", "10s") if "period" in spec.options else round_ns(size)
        if period <= size.last_ns:
            raise InvalidInput(
                f"transform {self.name}: period {period} ns; expected more than the last arrival of {trace.meta.name}, {size.last_ns} ns"
            )
        shift = _shift(spec, period)
        meta = dataclasses.replace(
            trace.meta.recording(shift_ns=shift, period_ns=period), t0_unix_ns=None, source_offset_ns=0, span_ns=None
        )
        return remade(trace, lambda: rotated(trace, shift, period), meta)


def _shift(spec: TransformSpec, period: int) -> int:
    where = f"transform {spec.name}"
    share = parse_quantity(spec.value, where) if spec.value is not None else (-1.0, "percent")
    if share[1] == "percent":
        if not 0 <= share[0] <= 100:
            raise InvalidInput(f"{where}: value {spec.value!r}; expected a time such as 10s, or a share of its length such as 25%")
        return round(share[0] / 100 * period) % period
    return parse_duration(str(spec.value), where) % period


TRANSFORM = PhaseShift()
