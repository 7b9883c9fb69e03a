"""Batch tasks of Alibaba's cluster trace of 2017, `batch_task.csv` without a header: create_timestamp, modify_timestamp (s), job_id,
task_id, instance_num, status, plan_cpu (100 is a core), plan_mem (normalised); resources are those of one instance. One row is one
task, submitted when it was created. https://github.com/alibaba/clusterdata/blob/master/cluster-trace-v2017/trace_201708.md

Copies with the header of the owner's schema.csv are read too. The table is in the order of jobs, not of time, and is put in order in
memory (80,553 rows, the whole of it) unless the option `sort` says otherwise. A task last changed before it was created has no run time.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from traces.formats.labels import labels_of
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import Table, first_row, lots, span_ns
from traces.licences import ALIBABA
from traces.schema import TraceMeta
from traces.stream import Trace

TABLE = Table(
    types={
        "create_timestamp": pa.int64(), "modify_timestamp": pa.int64(), "job_id": pa.int64(), "task_id": pa.utf8(),
        "instance_num": pa.int32(), "status": pa.utf8(), "plan_cpu": pa.float64(), "plan_mem": pa.utf8(),
    },
    order=("create_timestamp", "modify_timestamp", "job_id", "task_id", "instance_num", "status", "plan_cpu", "plan_mem"),
    aliases={
        "task_create_time": "create_timestamp",
        "task_end_time": "modify_timestamp",
        "number_of_instances": "instance_num",
        "number_of_cpus_requested_per_instance_in_the_task": "plan_cpu",
        "normalized_memory_requested_per_instance_in_the_task": "plan_mem",
    },
)  # fmt: skip
STATES = ("Ready", "Waiting", "Running", "Terminated", "Failed", "Cancelled", "Interrupted", "Interupted")


class AlibabaCluster2017:
    name = "alibaba_cluster_2017"
    summary = "Alibaba 2017 batch_task.csv: jobs by task, with instances, cores and run times; one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        row = first_row(head)
        bare = len(row) == len(TABLE.order) and row[5] in STATES and all(row[at].lstrip("-").isdigit() for at in range(4))
        return 3 if bare or not TABLE.missing(row) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("job",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license=ALIBABA,
            shareable="local-only",
            citation="Alibaba ClusterData201708",
            loss_notes="a task's run time is from its creation to its last change of state; memory is normalised, and a label",
        )
        return file_trace(path, meta, lambda: _read(path), options, sort="true")


def _read(path: Path) -> Iterator[Chunk]:
    for lot in lots(path, TABLE):
        created = lot.nanoseconds("create_timestamp")
        yield {
            "arrival_ns": lot.stamps("create_timestamp"),
            "kind": "job",
            "op": "submit",
            "target": lot.column("task_id"),
            "session_id": lot.keys("job_id"),
            "service_ns": span_ns(created, lot.nanoseconds("modify_timestamp")),
            "cpu_milli": lot.scaled("plan_cpu", 10),
            "instances": lot.column("instance_num"),
            "labels": labels_of({"status": lot.column("status"), "plan_mem": lot.column("plan_mem")}),
        }


FORMAT = AlibabaCluster2017()
