"""Image generation requests of Alibaba's Stable Diffusion service, GenTD26, csv `lora_request_trace.csv`: gmt_create (one second, shifted),
predict_type, predict_status, exec_time_seconds, groupId (of users), prompt_length and negative_prompt_length (characters),
num_images_per_prompt, num_inference_steps, checkpoint_model_version_id, num_lora. One row is one request for images.
https://github.com/alibaba/clusterdata/tree/master/cluster-trace-v2026-GenAI

Characters are no tokens, and stay labels. The dataset's other csv files (timestamp_anon, value, container_ip) sample the service itself:
they are signals, each of the metric that its file is named by.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from traces.formats.bytes_in import stem
from traces.formats.delimited import csv_header
from traces.formats.labels import labels_of
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.samples import file_signal, samples
from traces.formats.tables import SECONDS, Table, first_row, lots
from traces.licences import ALIBABA
from traces.schema import TraceMeta
from traces.signal import Signal
from traces.stream import Trace

REQUESTS = Table(
    types={
        "gmt_create": pa.timestamp("ns"), "predict_type": pa.utf8(), "predict_status": pa.utf8(), "exec_time_seconds": SECONDS,
        "groupId": pa.utf8(), "prompt_length": pa.float64(), "negative_prompt_length": pa.float64(),
        "num_images_per_prompt": pa.float64(), "num_inference_steps": pa.float64(), "checkpoint_model_version_id": pa.utf8(),
        "num_lora": pa.int64(),
    },
)  # fmt: skip
METRIC = Table(
    types={"timestamp_anon": SECONDS, "value": pa.float64(), "container_ip": pa.utf8(), "request_type": pa.utf8()},
    optional=frozenset({"request_type"}),
)
_STATUS = {"SUCCEED": 200, "FAILED": 500}


class AlibabaGenai2026:
    name = "alibaba_genai_2026"
    summary = "Alibaba GenAI 2026 lora_request_trace.csv: image generations with model, images, run times; its metrics as signals"

    def sniff(self, path: Path, head: bytes) -> int:
        row = first_row(head)
        return 3 if not REQUESTS.missing(row) or not METRIC.missing(row) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace | Signal:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license=ALIBABA,
            shareable="local-only",
            citation="Lin et al., Understanding Diffusion Model Serving in Production, SoCC 2025",
        )
        if not METRIC.missing(csv_header(path)):
            check_options(options, (), f"{self.name} (a signal)")
            return file_signal(path, meta, lambda: _metric(path), options)
        meta = dataclasses.replace(meta, kinds=("llm",), loss_notes="prompts are counted in characters, which stay as labels")
        return file_trace(path, meta, lambda: _read(path), options)


def _read(path: Path) -> Iterator[Chunk]:
    for lot in lots(path, REQUESTS):
        status = lot.column("predict_status")
        known = pc.index_in(status, pa.array(list(_STATUS)))
        yield {
            "arrival_ns": lot.stamps("gmt_create"),
            "kind": "llm",
            "op": "image",
            "tenant": lot.column("groupId"),
            "target": lot.column("checkpoint_model_version_id"),
            "media_items": lot.scaled("num_images_per_prompt", 1),
            "service_ns": lot.nanoseconds("exec_time_seconds"),
            "status": pa.array(list(_STATUS.values()), pa.int32()).take(known),
            "labels": labels_of(
                {
                    "type": lot.column("predict_type"),
                    "state": pc.if_else(known.is_valid(), None, status),
                    "steps": lot.scaled("num_inference_steps", 1),
                    "loras": lot.column("num_lora"),
                    "prompt_characters": lot.scaled("prompt_length", 1),
                    "negative_prompt_characters": lot.scaled("negative_prompt_length", 1),
                }
            ),
        }


def _metric(path: Path) -> Iterator[pa.RecordBatch]:
    """A sample without a container is of the series ""."""
    metric = stem(path).removesuffix("_anon")
    for lot in lots(path, METRIC):
        stamps, series = lot.stamps("timestamp_anon"), lot.column("container_ip").fill_null("")
        kind = lot.column("request_type")
        for word in pc.unique(kind).to_pylist():
            ours = pc.is_null(kind) if word is None else pc.fill_null(pc.equal(kind, word), False)
            name = metric if word is None else f"{metric} of {word}"
            yield from samples(stamps[ours.to_numpy(zero_copy_only=False)], series.filter(ours), {name: lot.column("value").filter(ours)})


FORMAT = AlibabaGenai2026()
