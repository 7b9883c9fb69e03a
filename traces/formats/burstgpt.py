"""BurstGPT (KDD 2025) csv: Timestamp (s from midnight of the first day), Model, Request tokens, Response tokens (0: the request failed),
Total tokens, Log Type; from release 1.2 on also Session ID and Elapsed time (s). https://github.com/HPMLL/BurstGPT
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from traces.formats.columns import key_ids, times_in
from traces.formats.delimited import csv_batches, header_with, required
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace

NEEDED = {
    "Timestamp": pa.decimal128(38, 18),
    "Model": pa.utf8(),
    "Request tokens": pa.int32(),
    "Response tokens": pa.int32(),
    "Log Type": pa.utf8(),
}
OPTIONAL = {"Session ID": pa.utf8(), "Elapsed time": pa.decimal128(38, 18)}


class BurstGpt:
    name = "burstgpt"
    summary = "BurstGPT csv, with or without sessions: inferences by tokens; stamps of a second; no response tokens: it failed"

    def sniff(self, path: Path, head: bytes) -> int:
        names = head.split(b"\n", 1)[0].decode("utf-8-sig", errors="replace").strip().split(",")
        return 3 if set(names) >= NEEDED.keys() else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        header = header_with(path, NEEDED)
        types = {**NEEDED, **{name: kind for name, kind in OPTIONAL.items() if name in header}}
        meta = TraceMeta(
            kinds=("llm",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Wang et al., BurstGPT, KDD 2025",
            loss_notes="a failed request (0 response tokens) has unknown output",
        )
        return file_trace(path, meta, lambda: _read(path, types), options, origin_ns=0)


def _read(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, types):
        stamps, model, prompt, output = (
            required(batch, n, path, done) for n in ("Timestamp", "Model", "Request tokens", "Response tokens")
        )
        failed = pc.equal(output, 0)
        chat = pc.match_substring(pc.fill_null(batch.column("Log Type"), ""), "onversation")
        chunk: Chunk = {
            "arrival_ns": times_in(stamps, "s", f"{path}: Timestamp", done).to_numpy(),
            "kind": "llm",
            "op": pc.if_else(chat, "chat", "completion"),
            "target": model,
            "prompt_tokens": prompt,
            "output_tokens": pc.if_else(failed, None, output),
            "status": pc.if_else(failed, 500, 200).cast(pa.int32()),
        }
        if "Session ID" in types:
            chunk["session_id"] = key_ids(batch.column("Session ID"))
        if "Elapsed time" in types:
            chunk["observed_ns"] = times_in(batch.column("Elapsed time"), "s", f"{path}: Elapsed time", done)
        done += batch.num_rows
        yield chunk


FORMAT = BurstGpt()
