"""size_scale f: request and response bytes times f, rounded to whole bytes (of a block device to sectors, one at least). Unknown sizes
stay unknown. A factor above 1 is taken back exactly by its inverse.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.schema import ints, masked, present, with_columns
from traces.stream import StreamTrace, Trace, remade
from traces.transforms.known import known
from traces.transforms.spec import TransformSpec

BYTES = ("req_bytes", "resp_bytes")
_SECTOR = 512
_MOST = float(2**62)


class SizeScale:
    name = "size_scale"
    summary = "request and response bytes times this"
    stage = "bend"
    value = "the factor, 0.000001 to 1000000"
    changes = "sizes"
    needs = ""
    options: Mapping[str, str] = MappingProxyType({})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        factor = spec.number(1e-6, 1e6, "a factor from 0.000001 to 1000000")
        known(trace, BYTES, "sizes", f"transform {self.name}")
        unit = _SECTOR if "block" in trace.meta.kinds else 1

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                yield with_columns(batch, {name: _scaled(batch, name, factor, unit) for name in BYTES})

        return remade(trace, make)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The mean of the known sizes over that without it."""
        means = [_mean(each) for each in (made, nominal)]
        return means[0] / means[1] if means[0] is not None and means[1] else None


def _scaled(batch: pa.RecordBatch, name: str, factor: float, unit: int) -> pa.Array:
    column = batch.column(name)
    if column.null_count == batch.num_rows:
        return column
    sizes = ints(batch, name)
    scaled = np.minimum(np.rint(sizes * (factor / unit)) * unit, _MOST).astype(np.int64)
    if unit > 1:
        scaled = np.where(sizes > 0, np.maximum(scaled, unit), scaled)
    return masked(scaled, present(batch, name))


def _mean(trace: Trace) -> float | None:
    total = known = 0
    for batch in trace.batches():
        for name in BYTES:
            total += int(ints(batch, name).sum())
            known += batch.num_rows - batch.column(name).null_count
    return total / known if known else None


TRANSFORM = SizeScale()
