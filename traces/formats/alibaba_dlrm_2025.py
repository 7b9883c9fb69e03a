"""Instances of Alibaba's recommendation services with GPUs apart, 2025, csv: instance_sn, role (CN: CPU node, HN: GPU node), app_name,
cpu_request (cores), gpu_request, rdma_request (percent of a NIC), memory_request and disk_request (GiB), each with its limit,
max_instance_per_node, creation_time, scheduled_time, deletion_time (s from the trace's start; empty where outside of the trace). One row is
one instance. https://github.com/alibaba/clusterdata/tree/master/cluster-trace-gpu-v2025

Those that were there before the trace began have no arrival: they are left out and counted. The published file is in the order of names: it
is put in order in memory (23,871 rows, the whole of it) unless the option `sort` says otherwise.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from traces.formats.labels import labels_of
from traces.formats.left_out import LINES, Tally, left_out
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import SECONDS, Table, first_row, lots, span_ns
from traces.licences import ALIBABA
from traces.schema import TraceMeta
from traces.stream import Trace

TABLE = Table(
    types={
        "instance_sn": pa.utf8(), "role": pa.utf8(), "app_name": pa.utf8(), "cpu_request": pa.float64(), "gpu_request": pa.float64(),
        "rdma_request": pa.utf8(), "memory_request": pa.float64(), "disk_request": pa.utf8(), "max_instance_per_node": pa.utf8(),
        "creation_time": SECONDS, "scheduled_time": SECONDS, "deletion_time": SECONDS,
    },
)  # fmt: skip


class AlibabaDlrm2025:
    name = "alibaba_dlrm_2025"
    summary = "Alibaba DLRM 2025 csv: service instances as jobs, with GPUs, cores, memory; one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if not TABLE.missing(first_row(head)) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("job",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license=ALIBABA,
            shareable="local-only",
            citation="Yang et al., GPU-Disaggregated Serving for Deep Learning Recommendation Models at Scale, NSDI 2025",
            loss_notes=left_out(lambda tally: _read(path, tally)),
        )
        return file_trace(path, meta, lambda: _read(path, Tally()), options, origin_ns=0, sort="true")


def _read(path: Path, tally: Tally) -> Iterator[Chunk]:
    for whole in lots(path, TABLE):
        lot = whole.where(whole.has("creation_time"))
        tally.update({LINES: len(whole), "from before the trace": len(whole) - len(lot)})
        created, deleted = lot.nanoseconds("creation_time"), lot.nanoseconds("deletion_time")
        yield {
            "arrival_ns": lot.stamps("creation_time"),
            "kind": "job",
            "op": "submit",
            "tenant": lot.column("app_name"),
            "target": lot.column("instance_sn"),
            "service_ns": span_ns(lot.nanoseconds("scheduled_time"), deleted),
            "observed_ns": span_ns(created, deleted),
            "cpu_milli": lot.scaled("cpu_request", 1000),
            "gpu_milli": lot.scaled("gpu_request", 1000),
            "mem_bytes": lot.scaled("memory_request", 2**30),
            "labels": labels_of(
                {
                    "role": lot.column("role"),
                    "rdma_percent": lot.column("rdma_request"),
                    "disk_gib": lot.column("disk_request"),
                    "most_on_a_node": lot.column("max_instance_per_node"),
                }
            ),
        }


FORMAT = AlibabaDlrm2025()
