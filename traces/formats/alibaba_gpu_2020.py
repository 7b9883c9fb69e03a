"""Jobs of Alibaba's GPU cluster of 2020 (PAI), csv without a header, either of two tables:

    pai_job_table    job_name, inst_id, user, status, start_time (submitted), end_time
    pai_task_table   job_name, task_name, inst_num, status, start_time (launched), end_time, plan_cpu, plan_mem, plan_gpu, gpu_type

Times are seconds less a constant; plan_cpu and plan_gpu are percent of one core and of one GPU, plan_mem is in GB, each for one instance.
One row is one job or one task. Rows without a start are left out and counted. The published tables are not in the order of time: the option
sort=true puts them in order in memory. https://github.com/alibaba/clusterdata/tree/master/cluster-trace-gpu-v2020
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.delimited import csv_header
from traces.formats.labels import labels_of
from traces.formats.left_out import LINES, Tally, left_out
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import SECONDS, Lot, Table, first_row, lots, span_ns
from traces.licences import ALIBABA
from traces.schema import TraceMeta
from traces.stream import Trace

JOBS = Table(
    types={
        "job_name": pa.utf8(), "inst_id": pa.utf8(), "user": pa.utf8(), "status": pa.utf8(), "start_time": SECONDS, "end_time": SECONDS,
    },
    order=("job_name", "inst_id", "user", "status", "start_time", "end_time"),
)  # fmt: skip
TASKS = Table(
    types={
        "job_name": pa.utf8(), "task_name": pa.utf8(), "inst_num": pa.float64(), "status": pa.utf8(), "start_time": SECONDS,
        "end_time": SECONDS, "plan_cpu": pa.float64(), "plan_mem": pa.float64(), "plan_gpu": pa.float64(), "gpu_type": pa.utf8(),
    },
    order=(
        "job_name", "task_name", "inst_num", "status", "start_time", "end_time", "plan_cpu", "plan_mem", "plan_gpu", "gpu_type",
    ),
)  # fmt: skip
STATES = ("Running", "Terminated", "Failed", "Waiting")
_GB = 2**30


class AlibabaGpu2020:
    name = "alibaba_gpu_2020"
    summary = "Alibaba GPU 2020, pai_job_table or pai_task_table csv: jobs with GPUs, cores, memory, run times; one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        row = first_row(head)
        bare = len(row) in (len(JOBS.order), len(TASKS.order)) and row[3] in STATES
        return 3 if bare or not TASKS.missing(row) or not JOBS.missing(row) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        table = _table(path)
        note = left_out(lambda tally: _read(path, table, tally))
        meta = TraceMeta(
            kinds=("job",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license=ALIBABA,
            shareable="local-only",
            citation="Weng et al., MLaaS in the Wild, NSDI 2022",
            loss_notes="; ".join(filter(None, ("" if table is JOBS else "a task arrives when it was launched, not submitted", note))),
        )
        return file_trace(path, meta, lambda: _read(path, table, Tally()), options)


def _table(path: Path) -> Table:
    columns = csv_header(path)
    for table in (JOBS, TASKS):
        if not table.missing(columns) or len(columns) == len(table.order):
            return table
    raise InvalidInput(
        f"{path}: line 1: {len(columns)} columns; expected {len(JOBS.order)} of pai_job_table or {len(TASKS.order)} of pai_task_table; "
        "take one of these tables"
    )


def _read(path: Path, table: Table, tally: Tally) -> Iterator[Chunk]:
    for lot in lots(path, table):
        started = lot.where(lot.has("start_time"))
        tally.update({LINES: len(lot), "without a start": len(lot) - len(started)})
        yield _jobs(started) if table is JOBS else _tasks(started)


def _jobs(lot: Lot) -> Chunk:
    return {
        **_ran(lot),
        "tenant": lot.column("user"),
        "target": lot.column("job_name"),
        "labels": labels_of({"status": lot.column("status"), "inst_id": lot.column("inst_id")}),
    }


def _tasks(lot: Lot) -> Chunk:
    return {
        **_ran(lot),
        "tenant": lot.column("job_name"),
        "target": lot.column("task_name"),
        "cpu_milli": lot.scaled("plan_cpu", 10),
        "gpu_milli": lot.scaled("plan_gpu", 10),
        "mem_bytes": lot.scaled("plan_mem", _GB),
        "instances": lot.scaled("inst_num", 1),
        "labels": labels_of({"status": lot.column("status"), "gpu_type": lot.column("gpu_type")}),
    }


def _ran(lot: Lot) -> Chunk:
    return {
        "arrival_ns": lot.stamps("start_time"),
        "kind": "job",
        "op": "submit",
        "session_id": lot.keys("job_name"),
        "service_ns": span_ns(lot.nanoseconds("start_time"), lot.nanoseconds("end_time")),
    }


FORMAT = AlibabaGpu2020()
