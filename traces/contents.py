"""What a canonical trace holds, gathered in one pass while it is written: facts to check a copy against, and
a hash of the values that does not depend on compression, encoding or row groups' bytes. Memory is
constant.
"""

import hashlib
import json
import math
from collections import Counter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.schema import SCHEMA, ints, present

Buffer: TypeAlias = bytes | npt.NDArray[Any]
_FEW_WORDS = 16
"""Up to which looking for each word takes less than sorting the rows by word."""
_SUMMED = ("req_bytes", "resp_bytes", "prompt_tokens", "output_tokens", "service_ns")


class Tally:
    """Add batches of the same size in order (but for the last); then read `facts` and `content_sha256`."""

    def __init__(self) -> None:
        self.rows = 0
        self._first = self._last = 0
        self._gap_squares = 0.0
        self._ops: Counter[str] = Counter()
        self._sums: dict[str, dict[str, int]] = {}
        self._hash = hashlib.sha256()

    @property
    def span_ns(self) -> int:
        return self._last - self._first

    def add(self, batch: pa.RecordBatch) -> None:
        arrival = ints(batch, "arrival_ns")
        gaps = np.diff(arrival, prepend=self._last if self.rows else arrival[0]).astype(np.float64)
        self._first = self._first if self.rows else int(arrival[0])
        self._last = int(arrival[-1])
        self._gap_squares += float(gaps @ gaps)
        self.rows += batch.num_rows
        op = batch.column("op")
        counts = np.bincount(op.indices.to_numpy(), minlength=len(op.dictionary))
        self._ops.update({word: int(n) for word, n in zip(op.dictionary.to_pylist(), counts, strict=True) if n})
        for name in _SUMMED:
            known = present(batch, name)
            if known.any():
                values = ints(batch, name)[known]
                entry = self._sums.setdefault(name, {"n": 0, "sum": 0, "max": 0})
                entry["n"] += len(values)
                entry["sum"] += int(values.sum(dtype=np.int64))
                entry["max"] = max(entry["max"], int(values.max()))
        for field in SCHEMA:
            self._hash.update(f"{field.name}:{batch.num_rows}:".encode())
            for part in _bytes_of(batch.column(field.name)):
                self._hash.update(part)  # type: ignore[arg-type]

    def facts(self) -> dict[str, Any]:
        """Rows, span, mean rate, variation of the gaps, ops, and sums by column."""
        gaps = self.rows - 1
        mean_gap = self.span_ns / gaps if gaps > 0 else 0.0
        variance = self._gap_squares / gaps - mean_gap**2 if gaps > 0 else 0.0
        return {
            "rows": self.rows,
            "span_s": self.span_ns / 1e9,
            "mean_rate_per_s": self.rows * 1e9 / self.span_ns if self.span_ns else None,
            "iat_cv": math.sqrt(max(0.0, variance)) / mean_gap if mean_gap else None,
            "ops": dict(sorted(self._ops.items())),
            **self._sums,
        }

    def content_sha256(self) -> str:
        return self._hash.hexdigest()


def _bytes_of(column: pa.Array) -> list[Buffer]:
    """The values of a column in one canonical form: null as a bit and zero."""
    if column.null_count == len(column):
        return [b"null"]
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _words_of(column)
    if pa.types.is_map(kind):
        return [_validity(column), json.dumps(column.to_pylist()).encode()]
    if pa.types.is_list(kind):
        lengths = pc.list_value_length(column).fill_null(0).to_numpy()
        return [_validity(column), lengths, np.ascontiguousarray(column.flatten().to_numpy())]
    filled = column.fill_null(pa.scalar(False if pa.types.is_boolean(kind) else 0, kind)) if column.null_count else column
    return [_validity(column), np.ascontiguousarray(filled.to_numpy(zero_copy_only=False))]


def _validity(column: pa.Array) -> Buffer:
    return b"all" if not column.null_count else np.packbits(column.is_valid().to_numpy(zero_copy_only=False))


def _words_of(column: pa.DictionaryArray) -> list[Buffer]:
    """A dictionary's own order and what it holds unused say nothing: words count in the order in which rows first use them."""
    used = (column.indices if not column.indices.null_count else column.indices.fill_null(-1)).to_numpy()
    if len(column.dictionary) <= _FEW_WORDS:
        places = {code: int(np.argmax(used == code)) for code in range(-1, len(column.dictionary))}
        codes = np.array(sorted((code for code, at in places.items() if used[at] == code), key=places.__getitem__))
        rank = np.zeros(len(column.dictionary) + 1, dtype=np.int32)
        rank[codes] = np.arange(len(codes), dtype=np.int32)  # null, -1, is the last of them
        ranks = rank[used]
    else:
        codes, first, placed = np.unique(used, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        codes, ranks = codes[order], rank[placed]
    words = [column.dictionary[int(code)].as_py() if code >= 0 else None for code in codes]
    return [json.dumps(words).encode(), ranks]
