"""op_mix g: each key-value request becomes a get with probability g, else a set; for traces that do not say
the op.

The known size moves with the op: what a get would bring is what a set carries. Keys, times and sizes stay.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from traces.draws import stream, uniform_all
from traces.errors import InvalidInput
from traces.schema import NAME, ints, masked, present, with_columns
from traces.stream import StreamTrace, Trace
from traces.transforms.spec import TransformSpec


class OpMix:
    name = "op_mix"
    summary = "key-value requests drawn as get with this probability, else set"
    stage = "bend"
    options = ()

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        if trace.meta.kinds != ("kv",):
            raise InvalidInput(f"transform op_mix: {trace.meta.name} is of kind {', '.join(trace.meta.kinds) or 'unknown'}; expected kv")
        share = spec.number(0, 1, "the share of gets, from 0 to 1")
        key = stream(seed, trace.meta.name, "op_mix")
        names = pa.array(["get", "set"])

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                is_get = uniform_all(key, ints(batch, "seq")) < share
                asked, given = present(batch, "req_bytes"), present(batch, "resp_bytes")
                size, known = (
                    np.where(asked, ints(batch, "req_bytes"), ints(batch, "resp_bytes")),
                    asked | given,
                )
                op = pa.DictionaryArray.from_arrays(pa.array((~is_get).astype(np.int8)), names).cast(NAME)
                yield with_columns(
                    batch,
                    {
                        "op": op,
                        "req_bytes": masked(size, known & ~is_get),
                        "resp_bytes": masked(size, known & is_get),
                        "cache_hit": None,  # what the source saw was of its own op
                    },
                )

        return StreamTrace(trace.meta, make, trace.identity, trace.rows_hint, trace.bounded, trace.rate_hint_per_s)


TRANSFORM = OpMix()
