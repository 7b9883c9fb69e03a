"""Azure LLM inference traces, 2023: TIMESTAMP (100 ns ticks), ContextTokens, GeneratedTokens; one row is one
inference.

The text has no zone; the stamps are taken as UTC. Lines end with CRLF and the last has no end: both are read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.delimited import csv_batches, csv_header, required
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace

TYPES = {"TIMESTAMP": pa.timestamp("ns"), "ContextTokens": pa.int32(), "GeneratedTokens": pa.int32()}


class AzureLlm:
    name = "azure_llm"
    summary = "Azure LLM inference 2023 csv (TIMESTAMP, ContextTokens, GeneratedTokens): completions by tokens"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if head.split(b"\n", 1)[0].strip() == b",".join(name.encode() for name in TYPES) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        missing = TYPES.keys() - set(csv_header(path))
        if missing:
            raise InvalidInput(
                f"{path}: line 1: column {', '.join(sorted(missing))} is missing; expected {', '.join(TYPES)}; name another --format"
            )
        meta = TraceMeta(
            kinds=("llm",),
            importer=self.name,
            arrival_resolution_ns=100,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Patel et al., Splitwise, ISCA 2024",
        )
        return file_trace(path, meta, lambda: _read(path), options, clock="unix")


def _read(path: Path) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, TYPES):
        stamps, prompt, output = (required(batch, name, path, done) for name in TYPES)
        done += batch.num_rows
        yield {
            "arrival_ns": stamps.cast(pa.int64()).to_numpy().astype(np.int64, copy=False),
            "kind": "llm",
            "op": "completion",
            "prompt_tokens": prompt,
            "output_tokens": output,
        }


FORMAT = AzureLlm()
