"""clamp: sizes and tokens above a limit are cut to it; the value limits request and response bytes, options
one each.

Counts nothing by itself: compare the sums of the facts before and after.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.errors import InvalidInput
from traces.quantities import parse_size
from traces.schema import ints, masked, present, with_columns
from traces.stream import StreamTrace, Trace
from traces.transforms.known import known
from traces.transforms.spec import TransformSpec

_BYTES = ("req_bytes", "resp_bytes")
_TOKENS = ("prompt_tokens", "output_tokens")


class Clamp:
    name = "clamp"
    summary = "request and response bytes (and tokens, by option) cut to a limit such as 64KiB"
    stage = "bend"
    value = "the most bytes, such as 64KiB"
    changes = "sizes"
    needs = ""
    options: Mapping[str, str] = MappingProxyType(
        {
            "req_bytes": "the most request bytes",
            "resp_bytes": "the most response bytes",
            "prompt_tokens": "the most tokens of a prompt",
            "output_tokens": "the most tokens of an answer",
        }
    )

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        limits = dict.fromkeys(_BYTES, parse_size(spec.value, "transform clamp")) if spec.value is not None else {}
        for name, text in spec.options.items():
            limits[name] = parse_size(text, f"transform clamp: {name}")
            if name in _TOKENS and limits[name] >= 2**31:
                raise InvalidInput(f"transform clamp: {name}: {text!r}; expected below 2^31 tokens")
        if not limits:
            raise InvalidInput(f"transform clamp: no limit; expected a size or one of the options {', '.join(self.options)}")
        known(trace, list(limits), "sizes or tokens to cut", f"transform {self.name}")

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                yield with_columns(
                    batch,
                    {n: masked(np.minimum(ints(batch, n), most), present(batch, n)) for n, most in limits.items()},
                )

        return StreamTrace(trace.meta, make, trace.identity, trace.rows_hint, trace.bounded, trace.rate_hint_per_s)


TRANSFORM = Clamp()
