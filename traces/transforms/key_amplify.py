"""key_amplify k: the key space k times (CacheLib's amplification): each request goes to one of k copies of its key or path, drawn. The
count, times, ops and sizes stay, and so does the exponent of popularity; each key has a k-th of its requests. Two passes.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.draws import draw_all, scale_all, stream
from traces.errors import InvalidInput
from traces.key_copies import key_copies
from traces.objects import objects_of
from traces.schema import ints
from traces.stream import StreamTrace, Trace, remade
from traces.transforms.spec import TransformSpec

MOST = 1_000_000


class KeyAmplify:
    name = "key_amplify"
    summary = "this many copies of the key space, each request to one of them"
    stage = "bend"
    value = f"how many, 1 to {MOST}"
    changes = "key space"
    needs = "two passes"
    options: Mapping[str, str] = MappingProxyType({})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        copies = spec.number(1, MOST, f"a whole number of copies from 1 to {MOST}")
        if copies != int(copies):
            raise InvalidInput(f"transform {self.name}: value {spec.value!r}; expected a whole number of copies")
        space = key_copies(trace, int(copies), f"transform {self.name}")
        key = stream(seed, trace.meta.name, self.name)

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                seq = ints(batch, "seq")
                yield space.named(batch, scale_all(draw_all(key, np.zeros_like(seq), seq), int(copies)).astype(np.int64))

        return remade(trace, make)

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """How much rarer it is that two requests are for the same key: the copies among which requests really fall, without bias by keys
        that are asked for once.
        """
        meetings = [_meetings(each) for each in (made, nominal)]
        return meetings[1] / meetings[0] if meetings[0] else None


def _meetings(trace: Trace) -> float:
    """The share of pairs of requests that are for one object."""
    counts = objects_of(trace, "transform key_amplify").counts.astype(np.float64)
    pairs = float(counts.sum()) * (float(counts.sum()) - 1)
    return float((counts * (counts - 1)).sum()) / pairs if pairs else 0.0


TRANSFORM = KeyAmplify()
