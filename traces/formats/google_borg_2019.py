"""Events of Google's Borg cells of May 2019, tables `collection_events` or `instance_events` as BigQuery exports them, csv or one JSON
object a line (where it writes whole numbers as text): time (microseconds from 600 s before the trace; 0 is before it, 2^63 - 1 after
it), type, collection_id, priority, and more. https://github.com/google/cluster-data, clusterdata_trace_format_v3.proto

A job is submitted many times in its life: one row stands for each SUBMIT, or for the events that the option `event` names (`event=all`
for all of them). Resources are parts of the largest machine, not cores or bytes, and stay as labels. How long a job ran would take
joining its later events. BigQuery exports in no order: the option sort=true puts rows in order in memory.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of
from traces.formats.json_lines import json_batches
from traces.formats.json_shape import first_object, json_shape
from traces.formats.labels import labels_of
from traces.formats.left_out import LINES, Tally, left_out
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.tables import Lot, Table, first_row, lots
from traces.schema import TraceMeta, nulls
from traces.stream import Trace

EVENTS = (
    "SUBMIT", "QUEUE", "ENABLE", "SCHEDULE", "EVICT", "FAIL", "FINISH", "KILL", "LOST", "UPDATE_PENDING", "UPDATE_RUNNING",
)  # fmt: skip
START_US = 600_000_000
AFTER_US = 2**63 - 1
_WHOLE = ("time", "collection_id", "priority", "instance_index", "machine_id", "parent_collection_id", "alloc_collection_id")
_RESOURCES = pa.struct({"cpus": pa.float64(), "memory": pa.float64()})
TABLE = Table(
    types={
        **dict.fromkeys(_WHOLE, pa.int64()),
        **dict.fromkeys(("type", "collection_type", "scheduling_class", "user", "collection_logical_name"), pa.utf8()),
        **dict.fromkeys(("resource_request", "cpus", "memory"), pa.utf8()),
    },
    optional=frozenset(
        {
            *_WHOLE[3:], "collection_type", "scheduling_class", "user", "collection_logical_name", "resource_request", "cpus", "memory",
        }
    ),
    aliases={
        "instance_events_type": "type",
        **{f"resource_request{dot}{part}": part for dot in "._" for part in ("cpus", "memory")},
    },
)  # fmt: skip


class GoogleBorg2019:
    name = "google_borg_2019"
    summary = "Google Borg 2019 collection or instance events, csv or jsonl: submitted jobs with priorities (option event=all)"

    def sniff(self, path: Path, head: bytes) -> int:
        first = first_object(head)
        names = list(first) if first is not None else first_row(head)
        return 3 if not TABLE.missing(names) and "scheduling_class" in names else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "event"), self.name)
        event = options.get("event", "SUBMIT").upper()
        if event not in (*EVENTS, "ALL"):
            raise InvalidInput(f"{path}: option event: {options['event']!r}; expected all or one of {', '.join(EVENTS)}")
        notes = ["resources are parts of the largest machine, as labels", "how long jobs ran stands in later events, which are not joined"]
        meta = TraceMeta(
            kinds=("job",),
            importer=self.name,
            arrival_resolution_ns=1_000,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Tirmazi et al., Borg: the Next Generation, EuroSys 2020",
            loss_notes="; ".join(filter(None, (*notes, left_out(lambda tally: _read(path, event, tally))))),
        )
        return file_trace(path, meta, lambda: _read(path, event, Tally()), options, origin_ns=START_US * 1_000)


def _read(path: Path, event: str, tally: Tally) -> Iterator[Chunk]:
    json = head_of(path, 64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    for lot in _json_lots(path) if json else lots(path, TABLE):
        named = _events(lot)
        time = lot.needed("time").to_numpy()
        lot.refuse(time < 0, "a negative time", "microseconds from 600 s before the trace")
        after, other = time == AFTER_US, np.zeros(len(lot), dtype=np.bool_)
        if event != "ALL":
            other = pc.not_equal(named, event).to_numpy(zero_copy_only=False)
        tally.update({LINES: len(lot), "after the trace": int((after & ~other).sum()), "of other events": int(other.sum())})
        kept = ~(after | other)
        yield _jobs(lot.where(kept), named.filter(pa.array(kept)))


def _events(lot: Lot) -> pa.Array:
    """The name of each row's event, which may be written as its number."""
    given = lot.needed("type")
    at = pc.fill_null(pc.index_in(given, pa.array([str(number) for number in range(len(EVENTS))])), -1)
    by_name = pc.fill_null(pc.index_in(pc.utf8_upper(given), pa.array(EVENTS)), -1)
    found = pc.max_element_wise(at, by_name)
    unknown = pc.less(found, 0).to_numpy(zero_copy_only=False)
    lot.refuse(unknown, "an unknown event type", f"0 to {len(EVENTS) - 1}, or {', '.join(EVENTS)}")
    return pa.array(EVENTS).take(found)


def _jobs(lot: Lot, event: pa.Array) -> Chunk:
    time = lot.stamps("time", "us")
    return {
        "arrival_ns": np.maximum(time, START_US * 1_000),  # what began before the trace is there from its start
        "kind": "job",
        "op": "submit",
        "tenant": lot.column("user"),
        "target": lot.column("collection_logical_name"),
        "session_id": lot.keys("collection_id"),
        "priority": lot.column("priority"),
        "labels": labels_of(
            {
                "event": event,
                "type": pc.if_else(pc.equal(lot.column("collection_type"), "1"), "alloc_set", None),
                "scheduling_class": lot.column("scheduling_class"),
                "instance": lot.column("instance_index"),
                "machine": lot.column("machine_id"),
                "cpus": pc.coalesce(lot.column("cpus"), _part(lot, "cpus")),
                "memory": pc.coalesce(lot.column("memory"), _part(lot, "memory")),
            }
        ),
    }


def _part(lot: Lot, name: str) -> pa.Array:
    """One number of a resource request that is written as text, JSON or a Python dict."""
    found = pc.extract_regex(lot.column("resource_request"), rf"['\"]{name}['\"]\s*:\s*(?P<number>[0-9.eE+-]+)")
    return pc.struct_field(found, "number")


def _json_lots(path: Path) -> Iterator[Lot]:
    shape = {name: kind for name, kind in json_shape(path).items() if name in TABLE.types}
    if missing := TABLE.missing(list(shape)):
        raise InvalidInput(
            f"{path}: line 1: field {', '.join(missing)} is missing; expected {', '.join(TABLE.types)}; name another --format"
        )
    kinds = {"whole": pa.int64(), "number": pa.float64(), "other": _RESOURCES}
    asked = {name: kinds.get(kind, pa.utf8()) for name, kind in shape.items()}
    for first, batch in json_batches(path, asked):
        lines = np.arange(first, first + batch.num_rows, dtype=np.int64)
        raw = Lot(path, lines, batch, asked)
        columns = {name: _as(raw, name, TABLE.types[name]) for name in asked if asked[name] != _RESOURCES}
        if asked.get("resource_request") == _RESOURCES:
            for part in ("cpus", "memory"):
                columns[part] = pc.struct_field(batch.column("resource_request"), part).cast(pa.utf8())
        yield Lot(path, lines, pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)), TABLE.types)


def _as(lot: Lot, name: str, kind: pa.DataType) -> pa.Array:
    said = "a whole number" if pa.types.is_integer(kind) else "text"
    return lot.converted(name, lambda values: values.cast(kind), said) if len(lot) else nulls(0, kind)


FORMAT = GoogleBorg2019()
