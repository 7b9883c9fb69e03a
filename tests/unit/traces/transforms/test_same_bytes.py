"""Same seed, same rows as ever: what each transform makes of some traces is pinned by a hash of every column's values and of what the
transform says of itself. A hash that changes is a break of reproducibility: old campaigns would replay another load.
"""

import hashlib
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.traces.rows import trace_of
from tests.unit.traces.transforms.pinned import CHAINS, PINNED
from traces.contents import Tally
from traces.draws import mix_all
from traces.schema import SCHEMA, ints, with_columns
from traces.stream import StreamTrace, Trace, rebatched
from traces.transforms import apply
from traces.transforms.written import spec_of_text

ROWS = 20_000
_ROUNDED = ("burst", "mmpp", "diurnal", "rate=", "mix=")
"""Whose arrivals come of powers and logarithms, which processors round differently in the last place: they are pinned to 10 us."""


def _draw(salt: int, below: int) -> np.ndarray:
    return (mix_all(np.arange(ROWS, dtype=np.uint64) + np.uint64(salt << 32)) % np.uint64(below)).astype(np.int64)


def _skewed(salt: int, below: int) -> np.ndarray:
    """More small numbers than large ones, by whole numbers alone."""
    return _draw(salt, below) * _draw(salt + 1, below) // below


def _columns() -> dict[str, object]:
    sets, size = _draw(3, 10) == 0, 10 + _skewed(4, 5000)
    return {
        "arrival_ns": 5_000 + np.cumsum(_draw(1, 2_000_000)),
        "op": pa.array(np.where(sets, "set", "get")),
        "client": pa.array([f"c{n}" for n in _draw(2, 7)]).dictionary_encode(),
        "req_bytes": pa.array(size, mask=~sets),
        "resp_bytes": pa.array(size, mask=sets | (_draw(6, 50) == 0)),
    }


def dense() -> StreamTrace:
    """Keys that are small numbers, always of one length."""
    return trace_of({**_columns(), "key_id": _skewed(8, 3000).astype(np.uint64), "key_bytes": np.full(ROWS, 20, np.uint32)})


def hashed() -> StreamTrace:
    """Keys that are hashes, some rows without one; lengths change within a key; lots of odd size."""
    key = mix_all(_skewed(8, 9000).astype(np.uint64))
    known = _draw(9, 40) > 0
    lengths = pa.array((16 + _draw(10, 30)).astype(np.uint32), mask=_draw(11, 9) == 0)
    return trace_of({**_columns(), "key_id": pa.array(key, mask=~known), "key_bytes": lengths}, lot=777)


def paths() -> StreamTrace:
    words = [f"/p/{n}" if n else None for n in _skewed(8, 800)]
    columns = {**_columns(), "target": pa.array(words).dictionary_encode(), "session_id": _draw(12, 500).astype(np.uint64)}
    columns["op"] = pa.array(np.where(_draw(3, 10) == 0, "PUT", "GET"))
    return trace_of(columns, kind="http", op="GET", lot=5000)


def blocks() -> StreamTrace:
    columns = {**_columns(), "offset_bytes": _skewed(8, 2000) * 4096}
    columns["op"] = pa.array(np.where(_draw(3, 10) == 0, "write", "read"))
    return trace_of(columns, kind="block")


def prompts() -> StreamTrace:
    blocks_ = pa.ListArray.from_arrays(
        pa.array(np.append(0, np.cumsum(_draw(14, 6))).astype(np.int32)),
        pa.array(mix_all(np.arange(int(_draw(14, 6).sum()), dtype=np.uint64) % np.uint64(900))),
        type=SCHEMA.field("prefix_hashes").type,
    )
    tokens = {name: _skewed(salt, 4000).astype(np.int32) for name, salt in (("prompt_tokens", 15), ("output_tokens", 17))}
    arrival = np.cumsum(_draw(1, 2_000_000))
    return trace_of({"arrival_ns": arrival, "prefix_hashes": blocks_, **tokens}, kind="llm", op="chat", llm_block_tokens=256)


def coarse() -> StreamTrace:
    whole = _columns()
    whole["arrival_ns"] = np.sort(_draw(1, 40)) * 1_000_000_000
    return trace_of(whole, arrival_resolution_ns=1_000_000_000)


TRACES: dict[str, Callable[[], StreamTrace]] = {made.__name__: made for made in (dense, hashed, paths, blocks, prompts, coarse)}


def digest(trace: Trace, texts: tuple[str, ...]) -> str:
    bent = apply(trace, [spec_of_text(text) for text in texts], 7)
    grain_ns = 10_000 if any(word in text for text in texts for word in _ROUNDED) else 1
    tally = Tally()
    for batch in rebatched(bent.batches(), 4096):
        tally.add(with_columns(batch, {"arrival_ns": ints(batch, "arrival_ns") // grain_ns}))
    said = [{**record, "seed": None} for record in bent.meta.transforms]
    return hashlib.sha256(f"{tally.content_sha256()} {json.dumps(said, sort_keys=True)}".encode()).hexdigest()[:16]


def digest_of(name: str) -> str:
    trace, _, rest = name.partition(" ")
    return digest(TRACES[trace](), tuple(rest.split(" | ")))


@pytest.mark.parametrize("name", PINNED)
def test_a_transform_makes_the_same_rows_as_ever(name: str) -> None:
    assert digest_of(name) == PINNED[name]


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_makes_the_same_rows_as_ever(name: str) -> None:
    assert digest_of(name) == CHAINS[name]
