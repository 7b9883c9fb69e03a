"""MapReduce jobs as SWIM publishes them (Facebook 2009, 2010), tab separated without a header: job, submit time (s), gap to the job before
(s), bytes of map input, of shuffle and of reduce output; in some files also the paths read and written, and a tab more. One row is one job.
https://github.com/SWIMProjectUCB/SWIM/wiki

What it read and wrote are `req_bytes` and `resp_bytes`, at the original cluster's scale; the shuffle is a label. How long it ran is not
published. A path that was read is the row's key.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from traces.formats.columns import key_ids
from traces.formats.delimited import csv_header
from traces.formats.labels import labels_of
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import Table, first_row, lots
from traces.schema import TraceMeta
from traces.stream import Trace

_TYPES = {"job": pa.utf8(), "submit_s": pa.int64(), "input_bytes": pa.int64(), "shuffle_bytes": pa.int64(), "output_bytes": pa.int64()}
_ORDER = ("job", "submit_s", "gap_s", "input_bytes", "shuffle_bytes", "output_bytes")
PLAIN = Table(_TYPES, order=_ORDER, delimiter="\t")
PATHS = Table(
    {**_TYPES, "input_path": pa.utf8(), "output_path": pa.utf8()},
    order=(*_ORDER, "input_path", "output_path", "nothing"),
    delimiter="\t",
)


class Swim:
    name = "swim"
    summary = "SWIM tsv: MapReduce jobs with bytes read, shuffled and written; one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        row = first_row(head, "\t")
        fits = len(row) in (len(PLAIN.order), len(PATHS.order)) and row[0].startswith("job")
        return 3 if fits and all(word.isdigit() for word in row[1:6]) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        table = PATHS if len(csv_header(path, "\t")) == len(PATHS.order) else PLAIN
        meta = TraceMeta(
            kinds=("job",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license="BSD-3-Clause",
            shareable="attribution",
            citation="Chen et al., MASCOTS 2011; Chen et al., VLDB 2012",
            loss_notes="jobs of sampled hours of several weeks stand one after another as a day",
        )
        return file_trace(path, meta, lambda: _read(path, table), options, origin_ns=0)


def _read(path: Path, table: Table) -> Iterator[Chunk]:
    for lot in lots(path, table):
        labels = {"shuffle_bytes": lot.column("shuffle_bytes")}
        chunk: Chunk = {
            "arrival_ns": lot.stamps("submit_s"),
            "kind": "job",
            "op": "submit",
            "target": lot.column("job"),
            "req_bytes": lot.needed("input_bytes"),
            "resp_bytes": lot.needed("output_bytes"),
        }
        if table is PATHS:
            chunk["key_id"] = key_ids(lot.column("input_path"))
            labels["output_path"] = lot.column("output_path")
        yield {**chunk, "labels": labels_of(labels)}


FORMAT = Swim()
