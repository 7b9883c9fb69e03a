"""Sessions of a copy of a trace, told apart from those of the original."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from traces.draws import mix, mix_all
from traces.schema import ints, masked, present, with_columns


def own_sessions(batches: Iterable[pa.RecordBatch], copy: int) -> Iterator[pa.RecordBatch]:
    """The rows of a copy: sessions renamed (not those of copy 0), causal parents dropped, for rows of the original are none."""
    for batch in batches:
        yield with_own_sessions(batch, copy)


def with_own_sessions(batch: pa.RecordBatch, copy: int) -> pa.RecordBatch:
    known = present(batch, "session_id")
    own = {"session_id": masked(mix_all(ints(batch, "session_id") ^ np.uint64(mix(copy))), known)} if copy and known.any() else {}
    return with_columns(batch, {**own, "parent_seq": None})
