"""Pods of Alibaba's GPU cluster of 2023, csv: name, cpu_milli, memory_mib, num_gpu, gpu_milli (of its one GPU, where it has one), gpu_spec
(models it may run on, `|` between), qos, pod_phase, creation_time, deletion_time, scheduled_time (s from the trace's start). One row is one
pod. https://github.com/alibaba/clusterdata/tree/master/cluster-trace-gpu-v2023

It runs from when it was scheduled; `observed_ns` is its whole life, with the wait. A pod never scheduled has no run time.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from traces.formats.labels import labels_of
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import Table, first_row, lots, span_ns
from traces.licences import ALIBABA
from traces.schema import TraceMeta
from traces.stream import Trace

TABLE = Table(
    types={
        "name": pa.utf8(), "cpu_milli": pa.int64(), "memory_mib": pa.int64(), "num_gpu": pa.int64(), "gpu_milli": pa.int64(),
        "gpu_spec": pa.utf8(), "qos": pa.utf8(), "pod_phase": pa.utf8(),
        "creation_time": pa.int64(), "deletion_time": pa.int64(), "scheduled_time": pa.int64(),
    },
    optional=frozenset({"gpu_spec"}),
)  # fmt: skip


class AlibabaGpu2023:
    name = "alibaba_gpu_2023"
    summary = "Alibaba GPU 2023 pod lists: jobs with GPUs, cores, memory, run times and waits; one-second stamps"

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
            citation="Weng et al., Beware of Fragmentation, USENIX ATC 2023",
        )
        return file_trace(path, meta, lambda: _read(path), options, origin_ns=0)


def _read(path: Path) -> Iterator[Chunk]:
    for lot in lots(path, TABLE):
        created, deleted = lot.nanoseconds("creation_time"), lot.nanoseconds("deletion_time")
        gpus = lot.needed("num_gpu")
        yield {
            "arrival_ns": lot.stamps("creation_time"),
            "kind": "job",
            "op": "submit",
            "target": lot.column("name"),
            "service_ns": span_ns(lot.nanoseconds("scheduled_time"), deleted),
            "observed_ns": span_ns(created, deleted),
            "cpu_milli": lot.column("cpu_milli"),
            "mem_bytes": lot.scaled("memory_mib", 2**20),
            "gpu_milli": pc.if_else(pc.less_equal(gpus, 1), lot.column("gpu_milli"), lot.scaled("num_gpu", 1000)),
            "labels": labels_of({"qos": lot.column("qos"), "phase": lot.column("pod_phase"), "gpu_spec": lot.column("gpu_spec")}),
        }


FORMAT = AlibabaGpu2023()
