"""Ops of requests changed, with what they carry: a payload goes to the server or comes from it, or there is none, as the op has it."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.schema import NAME, OPS, ints, masked, present, with_columns

Bools = npt.NDArray[np.bool_]
SENDS = frozenset(("set", "add", "replace", "cas", "append", "prepend", "PUT", "POST", "PATCH", "write", "send", "submit"))
BRINGS = frozenset(("get", "gets", "GET", "read"))
BOTH_WAYS = frozenset(("completion", "chat", "embed", "image", "invoke", "rpc", "mc", "db", "mq", "http"))
"""Payloads of these stay as they are."""
WORDS = tuple(dict.fromkeys(op for ops in OPS.values() for op in ops))


def with_ops(batch: pa.RecordBatch, rows: Bools, op: str) -> pa.RecordBatch:
    """`batch` with this op in some rows."""
    return drawn_ops(batch, np.where(rows, 0, -1), (op,))


def drawn_ops(batch: pa.RecordBatch, choice: npt.NDArray[np.int64], ops: tuple[str, ...]) -> pa.RecordBatch:
    """`batch` with the op of each row's number; -1 leaves the row alone. The known size moves with the op: what a get would bring is what a
    set carries, and an op without a payload has none. What the source saw of its own op is dropped.
    """
    column = batch.column("op")
    words = [*column.dictionary.to_pylist()]
    places = np.array([words.index(op) if op in words else -1 for op in ops])
    for number in np.flatnonzero(places < 0):
        places[number] = len(words)
        words.append(ops[number])
    changed = choice >= 0
    codes = np.where(changed, places[choice], column.indices.to_numpy())
    asked, given = present(batch, "req_bytes"), present(batch, "resp_bytes")
    known = asked | given
    size = np.where(asked, ints(batch, "req_bytes"), ints(batch, "resp_bytes"))
    sends = changed & np.array([op in SENDS for op in ops])[choice]
    brings = changed & np.array([op in BRINGS for op in ops])[choice]
    stays = ~changed | np.array([op in BOTH_WAYS for op in ops])[choice]
    hit = batch.column("cache_hit")
    return with_columns(
        batch,
        {
            "op": pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), pa.array(words, pa.utf8())).cast(NAME),
            "req_bytes": masked(np.where(sends, size, ints(batch, "req_bytes")), (sends & known) | (stays & asked)),
            "resp_bytes": masked(np.where(brings, size, ints(batch, "resp_bytes")), (brings & known) | (stays & given)),
            "cache_hit": hit
            if hit.null_count == len(hit)
            else pa.array(ints(batch, "cache_hit").astype(np.bool_), mask=changed | ~present(batch, "cache_hit")),
        },
    )
