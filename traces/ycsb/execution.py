"""The requests that come of a YCSB workload, the same for the same seed.

YCSB's operations on records become the nearest on keys: read is a get of the whole record, update and insert are sets, read-modify-write is
a get and then a set, and a scan is a get of each of its records. A key's identity is the number in its name (`user6284781860667377211`).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, stream, uniform_all
from traces.pace import Pace
from traces.schema import BATCH_ROWS, NAME, Column, masked
from traces.ycsb.keys import Ints, chosen, fnv, zipfian_between
from traces.ycsb.workload import OPERATIONS, Workload

_NOTES = "an update sends the fields that it changes as the whole value"
_SCANS = "a scan is a get of each of its records, neighbours by insertion where key order is not known"
_READ, _UPDATE, _INSERT, _SCAN, _RMW = range(len(OPERATIONS))
_POWERS = 10 ** np.arange(1, 19, dtype=np.int64)


def notes(workload: Workload) -> str:
    """What the requests leave out of it."""
    return "; ".join([_NOTES] + ([_SCANS] if workload.mix[_SCAN] else []))


def one_request_each(workload: Workload) -> bool:
    """Whether every operation is one request."""
    return not workload.mix[_SCAN] and not workload.mix[_RMW]


def executed(workload: Workload, seed: int, pace: Pace) -> Iterator[dict[str, Column]]:
    """Columns of the canonical schema, lot by lot, all of `operationcount`."""
    lot = max(1, BATCH_ROWS // workload.most_scan)
    edges = np.cumsum(workload.mix)[:-1]
    inserted, clock_ns = 0, 0.0
    for begin in range(0, workload.operations, lot):
        index = np.arange(begin, min(begin + lot, workload.operations), dtype=np.uint64)
        what = np.searchsorted(edges, uniform_all(stream(seed, "ycsb", "operation"), index), side="right")
        inserts = np.cumsum(what == _INSERT)
        last = workload.records - 1 + inserted + inserts - (what == _INSERT)
        inserted += int(inserts[-1])
        record = np.where(what == _INSERT, last + 1, chosen(workload, seed, index, last))
        lengths = np.where(what == _SCAN, np.minimum(_scan_lengths(workload, seed, index), last - record + 1), 1)
        each = np.where(what == _RMW, 2, lengths)
        rows = np.repeat(np.arange(len(index)), each)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(each) - each, each)
        chunk = _chunk(workload, seed, index[rows], what[rows], record[rows], nth)
        if pace.per_s:
            arrival, clock_ns = pace.arrivals(stream(seed, "ycsb", "gap"), index, clock_ns)
            chunk["arrival_ns"] = arrival[rows]
        yield chunk


def _chunk(workload: Workload, seed: int, index: U64, what: Ints, first: Ints, nth: Ints) -> dict[str, Column]:
    """`nth`: which of an operation's requests a row is."""
    record = first + np.where(what == _SCAN, nth, 0)
    writes = (what == _UPDATE) | (what == _INSERT) | ((what == _RMW) & (nth == 1))
    whole = np.where(writes, (what == _INSERT) | workload.write_all, workload.read_all)
    size = np.where(whole, _record_bytes(workload, seed, record), _field_bytes(workload, uniform_all(stream(seed, "ycsb", "field"), index)))
    number = fnv(record) if workload.hashed else record
    digits = np.searchsorted(_POWERS, number, side="right") + 1
    return {
        "kind": "kv",
        "op": pa.DictionaryArray.from_arrays(pa.array(writes.astype(np.int8)), pa.array(["get", "set"])).cast(NAME),
        "key_id": number.astype(np.uint64),
        "key_bytes": (len("user") + np.maximum(digits, workload.padding)).astype(np.uint32),
        "req_bytes": masked(size, writes),
        "resp_bytes": masked(size, ~writes),
    }


def _scan_lengths(workload: Workload, seed: int, index: U64) -> Ints:
    u, low, high = uniform_all(stream(seed, "ycsb", "scan"), index), workload.least_scan, workload.most_scan
    return zipfian_between(u, low, high) if workload.scan_law == "zipfian" else low + (u * (high - low + 1)).astype(np.int64)


def _field_bytes(workload: Workload, u: npt.NDArray[np.float64]) -> Ints:
    high, low = workload.field_bytes, min(workload.least_field_bytes, workload.field_bytes)
    if workload.field_law == "constant":
        return np.full(len(u), high, dtype=np.int64)
    return zipfian_between(u, low, high) if workload.field_law == "zipfian" else low + (u * (high - low + 1)).astype(np.int64)


def _record_bytes(workload: Workload, seed: int, record: Ints) -> Ints:
    """A record's own size, the same at each time that it is asked for."""
    if workload.field_law == "constant":
        return np.full(len(record), workload.fields * workload.field_bytes, dtype=np.int64)
    keys = record.astype(np.uint64)
    draws = (uniform_all(stream(seed, "ycsb", f"record{field}"), keys) for field in range(workload.fields))
    return sum((_field_bytes(workload, u) for u in draws), np.zeros(len(record), dtype=np.int64))
