"""Usage traces of Qwen on Bailian (ATC 2025), one JSON object a line: chat_id, parent_chat_id (-1: the first of its conversation),
timestamp (seconds, fractions), input_length, output_length, type, turn, hash_ids (ids of 16-token prefix blocks).

A conversation is named by its first request's chat_id, which later ones reach through their parents. Parents are remembered for the last
two million requests; one that lies further back begins a conversation of its own, and the trace's notes say so.
https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from traces.formats.columns import times_in
from traces.formats.json_lines import json_batches, required_field
from traces.formats.json_shape import first_object
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta, masked
from traces.stream import Trace

BLOCK_TOKENS = 16
TYPES = {
    "chat_id": pa.int64(),
    "parent_chat_id": pa.int64(),
    "timestamp": pa.float64(),
    "input_length": pa.int32(),
    "output_length": pa.int32(),
    "type": pa.utf8(),
    "turn": pa.int32(),
    "hash_ids": pa.list_(pa.field("item", pa.uint64(), nullable=False)),
}
_REMEMBERED = 2_000_000


class QwenBailian:
    name = "qwen_bailian"
    summary = "Qwen-Bailian jsonl: chats by tokens, conversations and turns, ids of 16-token prefix blocks"

    def sniff(self, path: Path, head: bytes) -> int:
        first = first_object(head)
        return 3 if first is not None and first.keys() >= TYPES.keys() else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("llm",),
            importer=self.name,
            arrival_resolution_ns=1_000_000,
            llm_block_tokens=BLOCK_TOKENS,
            llm_hash_scope="file",
            causality="session",
            license="Apache-2.0",
            shareable="attribution",
            citation="Wang et al., KVCache Cache in the Wild, USENIX ATC 2025",
            loss_notes=f"a parent over {_REMEMBERED} requests back begins a conversation of its own",
        )
        return file_trace(path, meta, lambda: _read(path), options, origin_ns=0)


def _read(path: Path) -> Iterator[Chunk]:
    known: dict[int, tuple[int, int]] = {}  # chat -> the conversation's first chat, its own place
    done = 0
    for first, batch in json_batches(path, TYPES):
        chats, parents = (required_field(batch, name, path, first).to_pylist() for name in ("chat_id", "parent_chat_id"))
        roots, befores = np.empty(len(chats), np.uint64), np.full(len(chats), -1, np.int64)
        for at, (chat, parent) in enumerate(zip(chats, parents, strict=True)):
            root, befores[at] = known.get(parent, (chat, -1)) if parent >= 0 else (chat, -1)
            roots[at] = root % 2**64
            known[chat] = (root, done + at)
            if len(known) > _REMEMBERED:
                del known[next(iter(known))]
        stamps = times_in(required_field(batch, "timestamp", path, first), "s", f"{path}: timestamp", done)
        done += len(chats)
        yield {
            "arrival_ns": stamps.to_numpy(),
            "kind": "llm",
            "op": "chat",
            "target": batch.column("type"),
            "prompt_tokens": required_field(batch, "input_length", path, first),
            "output_tokens": required_field(batch, "output_length", path, first),
            "session_id": roots,
            "turn": batch.column("turn"),
            "parent_seq": masked(befores.astype(np.uint64), befores >= 0),
            "prefix_hashes": batch.column("hash_ids"),
        }


FORMAT = QwenBailian()
