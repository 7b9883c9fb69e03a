"""Azure LLM inference traces of 2023, 2024 and 2025: TIMESTAMP, ContextTokens, GeneratedTokens, and in 2025, which is multimodal,
NumImages; one row is one inference.

Stamps are 100 ns ticks without a zone (2023), taken as UTC, or carry one (2024: 2024-05-10 00:00:00.009930+00:00). Lines may end with CRLF
and the last without an end. https://github.com/Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md, 2024.md, AzureLMM...2025.md
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from traces.formats.bytes_in import head_of
from traces.formats.delimited import csv_batches, header_with, required
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import first_row
from traces.schema import TraceMeta
from traces.stream import Trace

TYPES = {"TIMESTAMP": pa.timestamp("ns"), "ContextTokens": pa.int32(), "GeneratedTokens": pa.int32()}
IMAGES = "NumImages"
_ZONED = re.compile(rb"(Z|[+-]\d\d:?\d\d)$")


class AzureLlm:
    name = "azure_llm"
    summary = "Azure LLM inference 2023, 2024, 2025 csv (TIMESTAMP, ContextTokens, GeneratedTokens, NumImages): completions by tokens"

    def sniff(self, path: Path, head: bytes) -> int:
        names = set(first_row(head))
        return 3 if TYPES.keys() <= names <= {*TYPES, IMAGES} else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        header = header_with(path, TYPES)
        types = {**TYPES, **({IMAGES: pa.int32()} if IMAGES in header else {})}
        if _zoned(path, header.index("TIMESTAMP")):
            types["TIMESTAMP"] = pa.timestamp("ns", tz="UTC")
        meta = TraceMeta(
            kinds=("llm",),
            importer=self.name,
            arrival_resolution_ns=100,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Qiu et al., ModServe, SoCC 2025" if IMAGES in types else "Patel et al., Splitwise, ISCA 2024",
        )
        return file_trace(path, meta, lambda: _read(path, types), options, clock="unix")


def _zoned(path: Path, at: int) -> bool:
    """Whether the first row's stamp has a zone."""
    lines = head_of(path, 1 << 16).split(b"\n", 2)
    fields = lines[1].strip().split(b",") if len(lines) > 1 else []
    return at < len(fields) and _ZONED.search(fields[at].strip(b'"')) is not None


def _read(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, types):
        stamps, prompt, output = (required(batch, name, path, done) for name in TYPES)
        chunk: Chunk = {
            "arrival_ns": stamps.cast(pa.int64()).to_numpy().astype(np.int64, copy=False),
            "kind": "llm",
            "op": "completion",
            "prompt_tokens": prompt,
            "output_tokens": output,
        }
        if IMAGES in types:
            chunk["media_items"] = required(batch, IMAGES, path, done)
        done += batch.num_rows
        yield chunk


FORMAT = AzureLlm()
