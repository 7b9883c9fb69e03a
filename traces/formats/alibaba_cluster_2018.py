"""Batch tasks of Alibaba's cluster trace of 2018, `batch_task.csv` without a header: task_name, instance_num, job_name, task_type, status,
start_time, end_time (s from the trace's start), plan_cpu (100 is a core), plan_mem (normalised, 0 to 100); resources are those of one
instance. One row is one task. https://github.com/alibaba/clusterdata/blob/master/cluster-trace-v2018/trace_2018.md

A task's name holds its place in its job's graph (`R3_1_2`: task 3 after tasks 1 and 2) and stays as the label `after`. The published table
is not in the order of time: the option sort=true puts it in order in memory.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from traces.formats.columns import key_ids
from traces.formats.labels import labels_of
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import Table, first_row, lots, span_ns
from traces.licences import ALIBABA
from traces.schema import TraceMeta
from traces.stream import Trace

TABLE = Table(
    types={
        "task_name": pa.utf8(), "instance_num": pa.float64(), "job_name": pa.utf8(), "task_type": pa.utf8(), "status": pa.utf8(),
        "start_time": pa.int64(), "end_time": pa.int64(), "plan_cpu": pa.float64(), "plan_mem": pa.utf8(),
    },
    order=("task_name", "instance_num", "job_name", "task_type", "status", "start_time", "end_time", "plan_cpu", "plan_mem"),
)  # fmt: skip
STATES = ("Ready", "Waiting", "Running", "Terminated", "Failed", "Cancelled", "Interrupted")
_AFTER = r"^[A-Za-z]+[0-9]+_(?P<after>[0-9]+(?:_[0-9]+)*)$"


class AlibabaCluster2018:
    name = "alibaba_cluster_2018"
    summary = "Alibaba 2018 batch_task.csv: jobs by task with their graph, instances, cores and run times; one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        row = first_row(head)
        bare = len(row) == len(TABLE.order) and row[4] in STATES and row[5].isdigit() and row[6].isdigit()
        return 3 if bare or not TABLE.missing(row) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("job",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license=ALIBABA,
            shareable="local-only",
            citation="Alibaba ClusterData201808",
            loss_notes="a task arrives when it started; the order within its job is a label; memory is normalised, and a label",
        )
        return file_trace(path, meta, lambda: _read(path), options, origin_ns=0)


def _read(path: Path) -> Iterator[Chunk]:
    for lot in lots(path, TABLE):
        started, job = lot.stamps("start_time"), lot.needed("job_name")
        after = pc.struct_field(pc.extract_regex(lot.needed("task_name"), _AFTER), "after")
        yield {
            "arrival_ns": started,
            "kind": "job",
            "op": "submit",
            "tenant": job,
            "target": lot.column("task_name"),
            "session_id": key_ids(job),
            "service_ns": span_ns(pa.array(started), lot.nanoseconds("end_time")),
            "cpu_milli": lot.scaled("plan_cpu", 10),
            "instances": lot.scaled("instance_num", 1),
            "labels": labels_of(
                {
                    "status": lot.column("status"),
                    "task_type": lot.column("task_type"),
                    "after": after,
                    "plan_mem": lot.column("plan_mem"),
                }
            ),
        }


FORMAT = AlibabaCluster2018()
