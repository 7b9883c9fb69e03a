"""Requests with the keys and sizes of a real trace, beside constant ones, at the same Poisson arrivals: what the contents cost.

Two kinds of constant ones: of 64 bytes, and as large as the trace's are on average, of the same ops: that one moves as many bytes, so what
it and the trace differ in is the engine's and the server's work for keys and sizes that change.

The traces are others' data and are not in the project: $OFFSPEC_TRACES, or ../shared/traces from its root.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agent import _engine
from tests.bench.engine import servers
from tests.bench.engine.peers.keys import KEYS, constant_keys
from tests.bench.engine.peers.offspec import OpenLoop
from tests.bench.engine.race import Plan, Race
from traces.compile import compile_workload, preload_rows
from traces.errors import InvalidInput
from traces.source import open_trace

ROOT = Path(__file__).resolve().parents[4]
TRACES = {
    "Meta's key-value cache": "meta_kv_202401_head/kv_traces_1.csv",
    "CloudPhysics' blocks": "cloudphysics_libcachesim/cloudPhysicsIO.oracleGeneral.bin",
}
RATE_PER_S, SPAN_NS = 50_000.0, 2_000_000_000
"""Only how much of the trace is compiled; the arrivals are made anew for each rate."""


def races(plan: Plan, folder: Path) -> list[Race]:
    return [_race(name, where, folder) for name, where in TRACES.items()]


def _race(name: str, where: str, folder: Path) -> Race:
    given = Path(os.environ.get("OFFSPEC_TRACES") or ROOT.parent / "shared" / "traces") / where
    missing = servers.redis_missing() or (None if given.is_file() else f"no {where} in $OFFSPEC_TRACES")
    if missing is None:
        try:
            path = compile_workload(
                open_trace(given), [], driver="redis", duration_ns=SPAN_NS, out_dir=folder, rate_per_s=RATE_PER_S, rate_over="replayed",
                spread="poisson",
            ).path  # fmt: skip
        except InvalidInput as error:
            missing = str(error).replace(str(given), where)
    if missing is not None:
        return Race("Redis, a real trace", name, servers.redis, [], missing=missing)
    evened = _evened(path)
    contestants = [
        OpenLoop("redis", 1024, "slip", 1, called="the trace's keys and sizes", trace=str(path)),
        OpenLoop("redis", 1024, "slip", 1, called="constant requests of as many bytes", trace=str(evened)),
        OpenLoop("redis", 1024, "slip", 1, called="constant requests of 64 B"),
    ]
    return Race("Redis, a real trace", name, lambda: _stored(path, evened), contestants)


def _evened(path: Path) -> Path:
    """The trace with its mean sizes in every row and keys that go round."""
    table = pq.read_table(path)
    metadata = {name: value for name, value in pq.read_metadata(path).metadata.items() if name != b"ARROW:schema"}
    for name in ("key_bytes", "req_bytes", "resp_bytes"):
        column = table.column(name)
        mean = round(column.drop_null().to_numpy().mean()) if column.null_count < len(column) else None
        # Null stays null: a get has nothing to send.
        evened = pa.array([mean] * len(column), column.type, mask=column.is_null().to_numpy())
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), evened)
    keys = pa.array(np.arange(len(table)) % KEYS, table.schema.field("key_id").type)
    table = table.set_column(table.schema.get_field_index("key_id"), table.schema.field("key_id"), keys)
    out = path.with_name(f"{path.stem}-evened.parquet")
    pq.write_table(table.replace_schema_metadata(metadata), out)
    return out


def _stored(*paths: Path) -> AbstractContextManager[int]:
    @contextmanager
    def held() -> Iterator[int]:
        with servers.redis() as port:
            servers.store(port, constant_keys())
            for path in paths:
                rows = preload_rows(path)
                names = zip(rows["key_id"].to_pylist(), rows["key_bytes"].to_pylist(), rows["req_bytes"].to_pylist(), strict=True)
                servers.store(port, ((_engine.key_text(key, size), value) for key, size, value in names))
            yield port

    return held()
