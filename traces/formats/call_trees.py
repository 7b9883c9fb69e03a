"""Calls between microservices out of Alibaba's call graphs of 2021 and 2022: each row is a call, with its place in the tree of its trace.

A remote call is recorded by its caller (response time from 0) and by its callee (negative response time), under one rpcid. The callee's
record of a call that its caller recorded too is left out; one that stands alone stays, and so do all callers' records, for several calls
may share an rpcid. The rpcid `0.1.3` is below `0.1`. A trace's records are gathered from within QUIET records of one another; what lies
further apart is another tree.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.formats.call_records import grouped, parents, redundant
from traces.formats.columns import key_ids
from traces.formats.labels import labels_of
from traces.formats.left_out import LINES, Tally
from traces.formats.reading import Chunk
from traces.formats.tables import Lot, Table, lots
from traces.licences import ALIBABA
from traces.schema import TraceMeta, masked

QUIET = 1 << 18
KINDS = ("rpc", "mc", "db", "mq", "http")
UNKNOWN = ("", "(?)", "nan", "NAN", "NaN", "UNKNOWN")
"""How the traces write a name that was lost."""
_NAMES = ("um", "dm", "interface", "kind", "service", "um_instance", "dm_instance")
_ENCODED = pa.dictionary(pa.int32(), pa.utf8())


def call_meta(importer: str, citation: str, left_out: str) -> TraceMeta:
    """What both years' traces have in common."""
    note = f"records of one trace over {QUIET:,} records apart are different trees"
    return TraceMeta(
        kinds=("rpc",),
        importer=importer,
        arrival_resolution_ns=1_000_000,
        causality="tree",
        license=ALIBABA,
        shareable="local-only",
        citation=citation,
        loss_notes="; ".join(filter(None, (note, left_out))),
    )


def call_chunks(path: Path, table: Table, tally: Tally) -> Iterator[Chunk]:
    """`table` names its columns trace, stamp (ms), rpcid, kind, um (who calls), dm (who is called), interface, rt (ms, negative on the
    callee's side); service, um_instance and dm_instance may be missing.
    """
    done = 0
    for records in whole_traces(_records(lot) for lot in lots(path, table)):
        calls = _calls(records)
        tally.update({LINES: records.num_rows, "of callees whose callers recorded the same call": records.num_rows - calls.num_rows})
        yield _chunk(calls, done)
        done += calls.num_rows


def _records(lot: Lot) -> pa.RecordBatch:
    """Some records, their names encoded, for they are few."""
    kind = pc.utf8_lower(lot.column("kind"))
    known = pc.is_in(kind, pa.array([*KINDS, "userdefined", *(pc.utf8_lower(pa.array(UNKNOWN)).to_pylist())]))
    lot.refuse(~known.to_numpy(zero_copy_only=False) & lot.has("kind"), "an unknown rpctype", f"one of {', '.join(KINDS)}, userDefined")
    columns = {
        "trace": lot.needed("trace"),
        "stamp": pa.array(lot.stamps("stamp", "ms")),
        "rpcid": lot.needed("rpcid"),
        "rt": lot.nanoseconds("rt", "ms"),
        **{name: _named(kind if name == "kind" else lot.column(name)) for name in _NAMES},
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _named(names: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_in(names, pa.array(UNKNOWN)), None, names).dictionary_encode().cast(_ENCODED)


def whole_traces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same records in lots that hold whole traces. A trace is whole when none of the last QUIET records was its; of more than four
    times as many, the older ones go on in any case.
    """
    held: list[pa.RecordBatch] = []
    rows, most = 0, 2 * QUIET
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows < most:
            continue
        together = _joined(held)
        codes = _codes(together.column("trace"))
        last = np.zeros(int(codes.max()) + 1, dtype=np.int64)
        last[codes] = np.arange(rows)  # the last one that is written stays
        quiet = QUIET if rows < 4 * QUIET else rows // 2
        open_ = (last >= rows - quiet)[codes]
        if rows >= 4 * QUIET and open_.all():
            open_[:] = False
        if not open_.all():
            yield together.filter(pa.array(~open_))
        held = [together.filter(pa.array(open_))]
        rows = held[0].num_rows
        most = rows + QUIET
    if rows:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of several; their dictionaries are unified."""
    names = batches[0].schema.names
    return pa.RecordBatch.from_arrays([pa.concat_arrays([batch.column(name) for batch in batches]) for name in names], names=names)


def _codes(values: pa.Array) -> npt.NDArray[np.int64]:
    """Equal for equal texts, -1 for null."""
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    codes: npt.NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes


def _calls(records: pa.RecordBatch) -> pa.RecordBatch:
    """One record a call, in order of time and, at one time, from the root down."""
    took = records.column("rt").fill_null(0).to_numpy()
    stamp = records.column("stamp").to_numpy()
    caller = grouped(*(_codes(records.column(name)) for name in ("trace", "rpcid", "kind", "um")))
    call = grouped(caller, *(_codes(records.column(name)) for name in ("dm", "interface")))
    gone = redundant(took < 0, call, caller, grouped(call, stamp, took))
    kept = np.flatnonzero(~gone)
    depth = pc.count_substring(records.column("rpcid"), ".").to_numpy()
    return records.take(pa.array(kept[np.lexsort((kept, depth[kept], stamp[kept]))]))


def _chunk(calls: pa.RecordBatch, done: int) -> Chunk:
    rpcid, took = calls.column("rpcid"), calls.column("rt")
    above = pc.replace_substring_regex(rpcid, r"\.?[^.]*$", "")
    places = _codes(pa.concat_arrays([rpcid, above]))
    names = _codes(pa.concat_arrays([calls.column("dm"), calls.column("um")]))
    rows = calls.num_rows
    parent = parents(_codes(calls.column("trace")), places[:rows], places[rows:], names[:rows], names[rows:])
    kind = calls.column("kind").cast(pa.utf8())
    usual = pc.fill_null(pc.is_in(kind, pa.array(KINDS)), False)
    return {
        "arrival_ns": calls.column("stamp").to_numpy(),
        "kind": "rpc",
        "op": pc.if_else(usual, kind, "rpc"),
        "tenant": calls.column("um"),
        "client": calls.column("um_instance"),
        "target": calls.column("dm"),
        "session_id": key_ids(calls.column("trace")),
        "parent_seq": masked((parent + done).astype(np.uint64), parent >= 0),
        "observed_ns": pc.abs(took),
        "labels": labels_of(
            {
                "interface": calls.column("interface"),
                "service": calls.column("service"),
                "callee": calls.column("dm_instance"),
                "type": pc.if_else(usual, None, kind),
                "side": pc.if_else(pc.less(took, 0), "callee", None),
            }
        ),
    }
