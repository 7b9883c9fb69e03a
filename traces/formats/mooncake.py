"""Mooncake's traces of Kimi (FAST 2025), one JSON object a line: timestamp (whole milliseconds from the start), input_length,
output_length, hash_ids (ids of 512-token prefix blocks, equal over the whole file where the tokens are).

The published conversation trace has a stamp only about every three seconds: the resolution told is the greatest step that its first stamps
share, so that a paced replay asks how requests lie within a stamp.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from traces.formats.columns import times_in
from traces.formats.json_lines import json_batches, required_field
from traces.formats.json_shape import first_object
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace

BLOCK_TOKENS = 512
TYPES = {
    "timestamp": pa.int64(),
    "input_length": pa.int32(),
    "output_length": pa.int32(),
    "hash_ids": pa.list_(pa.field("item", pa.uint64(), nullable=False)),
}
_MS = 1_000_000


class Mooncake:
    name = "mooncake"
    summary = "Mooncake jsonl: completions by tokens, millisecond stamps, ids of 512-token prefix blocks"

    def sniff(self, path: Path, head: bytes) -> int:
        first = first_object(head)
        if first is None or first.keys() != TYPES.keys():
            return 0
        return 3 if isinstance(first["timestamp"], int) else 0  # seconds with fractions are another owner's

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("llm",),
            importer=self.name,
            arrival_resolution_ns=_step_ns(path),
            llm_block_tokens=BLOCK_TOKENS,
            llm_hash_scope="file",
            license="Apache-2.0",
            shareable="attribution",
            citation="Qin et al., Mooncake, FAST 2025",
        )
        return file_trace(path, meta, lambda: _read(path), options, origin_ns=0)


def _step_ns(path: Path) -> int:
    """How far apart the first lot's stamps lie at the least, where only few of its rows have one of their own; else a millisecond."""
    for _, batch in json_batches(path, {"timestamp": pa.int64()}):
        stamps = batch.column(0).drop_null().to_numpy()
        distinct = np.unique(stamps)
        if len(distinct) > 1 and len(distinct) * 4 < len(stamps):
            return max(_MS, int(np.diff(distinct).min()) * _MS)
        break
    return _MS


def _read(path: Path) -> Iterator[Chunk]:
    done = 0
    for first, batch in json_batches(path, TYPES):
        for name in ("timestamp", "input_length", "output_length"):
            required_field(batch, name, path, first)
        stamps = times_in(batch.column("timestamp"), "ms", f"{path}: timestamp", done)
        done += batch.num_rows
        yield {
            "arrival_ns": stamps.to_numpy(),
            "kind": "llm",
            "op": "completion",
            "prompt_tokens": batch.column("input_length"),
            "output_tokens": batch.column("output_length"),
            "prefix_hashes": batch.column("hash_ids"),
        }


FORMAT = Mooncake()
