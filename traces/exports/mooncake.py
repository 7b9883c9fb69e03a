"""Mooncake's jsonl (FAST 2025), which aiperf replays as `mooncake_trace` and guidellm as `mooncake`: timestamp (whole milliseconds),
input_length, output_length, hash_ids (ids of prefix blocks of 512 tokens).

Ids are the trace's own where its blocks are Mooncake's and hold over the file; without blocks `hash_ids` is empty, and blocks of another
size are refused, for their ids would be taken for longer prefixes.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.mooncake import BLOCK_TOKENS
from traces.formats.reading import check_options
from traces.stream import Trace

_MS = 1_000_000
_COLUMNS = {"input_length": "prompt_tokens", "output_length": "output_tokens"}


class MooncakeExport:
    name = "mooncake"
    summary = "Mooncake jsonl, for aiperf and guidellm: LLM requests by tokens with ids of 512-token prefix blocks"

    def write(self, trace: Trace, path: Path, options: Mapping[str, str]) -> int:
        check_options(options, (), f"export {self.name}")
        meta = trace.meta
        if meta.kinds != ("llm",):
            raise InvalidInput(f"{meta.name}: a trace of kind {', '.join(meta.kinds)}; expected LLM requests; take another trace")
        if meta.arrival_model == "none":
            raise InvalidInput(f"{meta.name}: has no times; expected some, for each line has one; give it a rate first")
        if meta.llm_block_tokens not in (None, BLOCK_TOKENS):
            raise InvalidInput(f"{meta.name}: prefix blocks of {meta.llm_block_tokens} tokens; expected {BLOCK_TOKENS}, as Mooncake's have")
        rows = 0
        with path.open("w", encoding="ascii") as file:
            for batch in trace.batches():
                file.writelines(_lines(meta.name, batch, rows))
                rows += batch.num_rows
        return rows


def _lines(trace: str, batch: pa.RecordBatch, done: int) -> list[str]:
    """A line for each request; `done` came before, for messages."""
    wrong = {
        "no number of prompt tokens": batch.column("prompt_tokens").is_null(),
        "no number of output tokens": batch.column("output_tokens").is_null(),
        "arrives before 0": pc.less(batch.column("arrival_ns"), 0),
    }
    for what, where in wrong.items():
        if (rows := np.flatnonzero(where.to_numpy(zero_copy_only=False))).size:
            raise InvalidInput(f"{trace}: request {done + int(rows[0])} (from 0): {what}; expected what a line of Mooncake's must say")
    stamps = pc.divide(batch.column("arrival_ns"), _MS).to_pylist()
    prompt, output = (batch.column(name).to_pylist() for name in _COLUMNS.values())
    hashes = batch.column("prefix_hashes").to_pylist()
    return [
        json.dumps({"timestamp": at, "input_length": asked, "output_length": given, "hash_ids": ids or []}) + "\n"
        for at, asked, given, ids in zip(stamps, prompt, output, hashes, strict=True)
    ]


EXPORT = MooncakeExport()
