"""Azure Functions invocations of two weeks in 2021, csv: app, func (unique within an app), end_timestamp (s), duration (s); one row is one
invocation.

It arrived at its end less its duration, which can lie before the trace's start. The published file is in the order of neither: rows are
put in the order of arrival within half an hour, which is longer than any invocation may run, unless the option `sort` says otherwise.
https://github.com/Azure/AzurePublicDataset, AzureFunctionsInvocationTrace2021.md
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from traces.formats.columns import times_in
from traces.formats.delimited import csv_batches, header_with, required
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace

TYPES = {"app": pa.utf8(), "func": pa.utf8(), "end_timestamp": pa.decimal128(38, 18), "duration": pa.decimal128(38, 18)}


class AzureFunctions2021:
    name = "azure_functions_2021"
    summary = "Azure Functions 2021 csv (app, func, end_timestamp, duration): invocations, arrived at end less duration"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if head.split(b"\n", 1)[0].strip() == b",".join(name.encode() for name in TYPES) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        header_with(path, TYPES)
        meta = TraceMeta(
            kinds=("faas",),
            importer=self.name,
            arrival_resolution_ns=1_000_000,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Zhang et al., Faster and Cheaper Serverless Computing on Harvested Resources, SOSP 2021",
        )
        return file_trace(path, meta, lambda: _read(path), options, sort="30m")


def _read(path: Path) -> Iterator[Chunk]:
    done = 0
    for batch in csv_batches(path, TYPES):
        app, func, end, took = (required(batch, name, path, done) for name in TYPES)
        end_ns, took_ns = (times_in(each, "s", f"{path}: {name}", done) for each, name in ((end, "end_timestamp"), (took, "duration")))
        done += batch.num_rows
        yield {
            "arrival_ns": pc.subtract(end_ns, took_ns).to_numpy(),
            "kind": "faas",
            "op": "invoke",
            "tenant": app,
            "target": func,
            "service_ns": took_ns,
        }


FORMAT = AzureFunctions2021()
