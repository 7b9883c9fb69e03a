"""shard n, option index: the part of a trace that one of n agents replays, by key, else by session, else by
row, so that all requests of a key meet the same agent. The shards of a trace hold each row exactly once.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import mix_all
from traces.errors import InvalidInput
from traces.schema import ints, present
from traces.stream import StreamTrace, Trace
from traces.transforms.spec import TransformSpec


class Shard:
    name = "shard"
    summary = "the index-th of n parts, by key, else session, else row"
    stage = "bend"
    value = "how many parts"
    changes = "rate"
    needs = ""
    options: Mapping[str, str] = MappingProxyType({"index": "which of them, from 0"})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        shards = int(spec.number(1, 1_000_000, "a whole number of shards from 1"))
        text = spec.options.get("index", "0")
        if not text.isdigit() or int(text) >= shards:
            raise InvalidInput(f"transform shard: index {text!r}; expected 0 to {shards - 1}")
        index = int(text)

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                yield part_of(batch, index, shards)

        meta = dataclasses.replace(trace.meta, rows=None, span_ns=None)
        rate = trace.rate_hint_per_s
        return StreamTrace(meta, make, trace.identity, None, trace.bounded, rate / shards if rate else None)


def part_of(batch: pa.RecordBatch, index: int, shards: int) -> pa.RecordBatch:
    """Those rows of a canonical batch that belong to one shard, in order."""
    if shards == 1:
        return batch
    return batch.filter(pa.array(shard_numbers(batch, shards) == index))


def shard_numbers(batch: pa.RecordBatch, shards: int) -> npt.NDArray[np.uint64]:
    """Each row's shard: mix(key_id or session_id or seq) mod shards."""
    known = present(batch, "key_id")
    owner = ints(batch, "key_id")
    if not known.all():
        fallback = np.where(present(batch, "session_id"), ints(batch, "session_id"), ints(batch, "seq"))
        owner = np.where(known, owner, fallback)
    numbers: npt.NDArray[np.uint64] = mix_all(owner) % np.uint64(shards)
    return numbers


TRANSFORM = Shard()
