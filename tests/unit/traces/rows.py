"""Small traces and their columns for the tests of this folder, and the real ones where they are at hand."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from traces.schema import BATCH_ROWS, TraceMeta, batch_of
from traces.stream import StreamTrace, Trace

REAL = Path(__file__).parents[4] / "shared" / "traces"


def real(name: str) -> Path:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"real trace {name} is not at hand in ../shared/traces")
    return path


def facts(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(real("FACTS.json").read_text())[name]
    return found


def trace_of(columns: Mapping[str, Any], *, kind: str = "kv", op: str = "get", lot: int = BATCH_ROWS, **meta: Any) -> StreamTrace:
    """A trace held in memory, given in lots of `lot` rows. Arrivals default to one each millisecond."""
    rows = len(next(iter(columns.values())))
    given: dict[str, Any] = {
        "arrival_ns": np.arange(rows, dtype=np.int64) * 1_000_000,
        "seq": np.arange(rows, dtype=np.uint64),
        "kind": kind,
        "op": op,
        **columns,
    }
    whole = batch_of(given, rows)
    batches = [whole.slice(at, lot) for at in range(0, rows, lot)]
    return StreamTrace(TraceMeta(**{"name": "held", "kinds": (kind,), **meta}), lambda: iter(batches), lambda: "held", rows)


def table(trace: Trace) -> pa.Table:
    return pa.Table.from_batches(list(trace.batches()))


def column(trace: Trace, name: str) -> list[Any]:
    values: list[Any] = table(trace).column(name).to_pylist()
    return values


def arrivals(trace: Trace) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = table(trace).column("arrival_ns").to_numpy()
    return values


def variation(arrival: npt.NDArray[np.int64] | Sequence[int]) -> float:
    gaps = np.diff(np.asarray(arrival))
    return float(gaps.std() / gaps.mean())
