"""loop d: a shorter trace again and again until the duration d is full. A longer one is cut at d.

The seam between two rounds is one mean gap of the trace. Keys repeat; sequence numbers go on and sessions of
later rounds are sessions of their own. The record in the metadata says how often and at which period it
repeats.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.draws import mix, mix_all
from traces.errors import InvalidInput
from traces.quantities import parse_duration
from traces.schema import ints, masked, present, with_columns
from traces.stream import Extent, StreamTrace, Trace, extent, limit, timed
from traces.transforms.spec import TransformSpec


class Loop:
    name = "loop"
    summary = "repeated until the duration (such as 60s) is full"
    stage = "pace"
    value = "the duration, such as 60s"
    changes = "length"
    needs = "two passes"
    options: Mapping[str, str] = MappingProxyType({})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        until = parse_duration(spec.value if spec.value is not None else "", "transform loop")
        if until <= 0:
            raise InvalidInput(f"transform loop: value {spec.value!r}; expected a duration above 0 such as 60s")
        if not trace.bounded:
            return limit(trace, until)
        size = timed(extent(trace), trace, "transform loop")
        period = size.span_ns + size.mean_gap_ns
        rounds = max(1, -(-(until - size.first_ns) // period))

        def make() -> Iterator[pa.RecordBatch]:
            for round_ in range(rounds):
                for batch in trace.batches():
                    yield batch if round_ == 0 else _moved(batch, round_, period, size)

        repeated = StreamTrace(trace.meta, make, trace.identity, size.rows * rounds, rate_hint_per_s=trace.rate_hint_per_s)
        cut = limit(repeated, until)
        seam = {"rounds": rounds, "period_ns": period, "seam_ns": size.mean_gap_ns}
        return dataclasses.replace(cut, meta=dataclasses.replace(cut.meta, transforms=(*trace.meta.transforms, seam)))


def _moved(batch: pa.RecordBatch, round_: int, period: int, size: Extent) -> pa.RecordBatch:
    shift = np.uint64(round_ * (size.last_seq + 1))
    columns = {
        "arrival_ns": ints(batch, "arrival_ns") + round_ * period,
        "seq": ints(batch, "seq") + shift,
    }
    known = present(batch, "parent_seq")
    if known.any():
        columns["parent_seq"] = masked(ints(batch, "parent_seq") + shift, known)
    known = present(batch, "session_id")
    if known.any():
        columns["session_id"] = masked(mix_all(ints(batch, "session_id") ^ np.uint64(mix(round_))), known)
    return with_columns(batch, columns)


TRANSFORM = Loop()
