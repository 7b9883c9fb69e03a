"""A key space several times: the copies of a key, told apart from every key that the trace has."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.draws import U64, keys_of, mix_all
from traces.errors import InvalidInput
from traces.schema import ints, present, with_columns
from traces.stream import Trace, narrowed

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KeyCopies:
    """Copy 0 of a key is the key itself; that of a path has `~COPY` behind it. Keys that are small numbers stay small, for the length of
    their text is part of the load; where they would outgrow 64 bits (hashes) a copy's key is a hash too.
    """

    stride: int | None
    paths: bool

    def named(self, batch: pa.RecordBatch, copies: Ints) -> pa.RecordBatch:
        """`batch` with each row's key replaced by its copy of that number."""
        if not copies.any():
            return batch
        changed: dict[str, pa.Array] = {}
        known = present(batch, "key_id")
        if known.any():
            keys = self.keys(ints(batch, "key_id").astype(np.uint64), copies)
            changed["key_id"] = pa.array(keys, mask=~known)
        if self.paths:
            path = batch.column("target").dictionary_decode()
            changed["target"] = pc.if_else(
                pa.array(copies > 0), pc.binary_join_element_wise(path, pa.array(copies).cast(pa.utf8()), "~"), path
            )
        return with_columns(batch, changed)

    def keys(self, keys: U64, copies: Ints) -> U64:
        numbers = copies.astype(np.uint64)
        if self.stride is not None:
            return keys + numbers * np.uint64(self.stride)
        return np.where(copies > 0, mix_all(keys ^ mix_all(numbers)), keys)


def key_copies(trace: Trace, most: int, asks: str) -> KeyCopies:
    """For copies numbered below `most`. Reads the trace once. Raises InvalidInput, in the name of what `asks`."""
    if "block" in trace.meta.kinds:
        raise InvalidInput(f"{asks}: {trace.meta.name} is of kind block; expected keys or paths, for a device has no second set of sectors")
    largest, paths = -1, False
    for batch in narrowed(trace, ("key_id", "target")):
        if batch.column("key_id").null_count < batch.num_rows:
            largest = max(largest, int(pc.max(batch.column("key_id")).as_py()))
        paths = paths or ("kv" not in trace.meta.kinds and batch.column("target").null_count < batch.num_rows)
    if largest < 0 and not paths:
        raise InvalidInput(f"{asks}: the requests of {trace.meta.name} name no key or path; expected a trace whose requests do")
    return KeyCopies(largest + 1 if (largest + 1) * most < 2**64 else None, paths)


def owners(batch: pa.RecordBatch) -> U64:
    """A number for each row's key, or path where it has none."""
    known = present(batch, "key_id")
    keys = ints(batch, "key_id").astype(np.uint64)
    column = batch.column("target")
    if known.all() or column.null_count == batch.num_rows:
        return keys
    words = keys_of(column.dictionary.to_pylist())
    return np.where(known, keys, np.append(words, np.uint64(0))[column.indices.fill_null(len(words)).to_numpy()])
