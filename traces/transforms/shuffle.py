"""shuffle what: one order is destroyed, all else stays. `order`: whole requests change places, and the arrivals stay where they are.
`keys`: only what requests are for changes places, so popularity stays and temporal locality goes; ops and sizes stay with their rows.
`gaps`: the gaps between arrivals change places, so their law stays and whatever order they had (bursts, hours) goes; the requests stay
in order.

Places are permuted within a bounded number of requests (option `window`, default 1,048,576, the next following it), which is what is
held in memory: order over more than that stays. A trace that fits is shuffled whole.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.draws import mix, permuted, stream
from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS, ints, with_columns
from traces.stream import StreamTrace, Trace, rebatched, remade, rows_at
from traces.transforms.spec import TransformSpec

_WINDOW = 1 << 20
_OBJECT = ("key_id", "key_bytes", "target")


class Shuffle:
    name = "shuffle"
    summary = "one order is destroyed: that of the requests, of their keys alone, or of the gaps"
    stage = "bend"
    value = "order, keys or gaps"
    changes = "order"
    needs = f"memory of {_WINDOW:,} requests (option window), about half a GiB"
    options: Mapping[str, str] = MappingProxyType({"window": f"how many requests are shuffled together (default {_WINDOW})"})

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        change = _WAYS.get(str(spec.value))
        if change is None:
            raise InvalidInput(f"transform {self.name}: value {spec.value!r}; expected one of {', '.join(_WAYS)}")
        window = int(spec.option("window", _WINDOW, 2, 1 << 26, "how many requests, from 2 to 67108864"))
        key = stream(seed, trace.meta.name, self.name)

        def make() -> Iterator[pa.RecordBatch]:
            last = None
            for number, lot in enumerate(rebatched(trace.batches(), window)):
                first = int(ints(lot, "arrival_ns")[0])
                places = permuted(np.arange(lot.num_rows, dtype=np.uint64), lot.num_rows, mix(key ^ number)).astype(np.int64)
                bent = change(lot, places, first if last is None else last)
                last = int(ints(lot, "arrival_ns")[-1])
                yield from rebatched([bent], BATCH_ROWS)

        return remade(trace, make)


def _order(lot: pa.RecordBatch, places: np.ndarray, before_ns: int) -> pa.RecordBatch:
    moved = rows_at(lot, places)
    return with_columns(moved, {"arrival_ns": lot.column("arrival_ns"), "seq": lot.column("seq"), "parent_seq": None})


def _keys(lot: pa.RecordBatch, places: np.ndarray, before_ns: int) -> pa.RecordBatch:
    at = pa.array(places)
    columns = _OBJECT if lot.column("key_id").null_count < lot.num_rows or lot.column("target").null_count < lot.num_rows else ()
    return with_columns(lot, {name: lot.column(name).take(at) for name in columns if lot.column(name).null_count < lot.num_rows})


def _gaps(lot: pa.RecordBatch, places: np.ndarray, before_ns: int) -> pa.RecordBatch:
    gaps = np.diff(ints(lot, "arrival_ns"), prepend=before_ns)
    return with_columns(lot, {"arrival_ns": before_ns + np.cumsum(gaps[places])})


_WAYS: Mapping[str, Callable[[pa.RecordBatch, np.ndarray, int], pa.RecordBatch]] = {"order": _order, "keys": _keys, "gaps": _gaps}
TRANSFORM = Shuffle()
