"""What a fit looks at: the first rows of a trace as columns. Memory is constant in the length of the trace."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.draws import stream, uniform_all
from traces.errors import InvalidInput
from traces.schema import TraceMeta, ints, present
from traces.stream import Trace

MOST_ROWS = 1_000_000
MOST_BLOCKS = 20_000_000
"""Of prefixes; the batch in which there are more is the last."""
COARSE_NS = 1_000_000
"""Stamps no finer than this say nothing of what is between them."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_COLUMNS = ("key_id", "key_bytes", "req_bytes", "resp_bytes", "ttl_ms", "prompt_tokens", "output_tokens", "session_id", "turn")


@dataclass(frozen=True)
class Sample:
    """`columns` hold all rows, -1 where the source does not say (keys and sessions as int64 of the same bits, beside `known`)."""

    meta: TraceMeta
    whole: bool
    arrival_ns: Ints
    ops: tuple[str, ...]
    op: Ints
    columns: dict[str, Ints]
    known: dict[str, npt.NDArray[np.bool_]]
    blocks: npt.NDArray[np.uint64]
    block_ends: Ints
    """Prefix blocks of all rows one after the other, and where each row's end."""

    @property
    def rows(self) -> int:
        return len(self.arrival_ns)

    def values(self, name: str) -> Ints:
        """Those that are known."""
        return self.columns[name][self.known[name]] if name in self.columns else np.zeros(0, dtype=np.int64)


def sample_of(trace: Trace, most_rows: int = MOST_ROWS) -> Sample:
    """Raises InvalidInput for a trace without an end or with too few rows to learn from."""
    if not trace.bounded:
        raise InvalidInput(f"{trace.meta.name}: a synthesis without an end; expected a length; add ,for=10s or ,rows=N")
    arrivals: list[Ints] = []
    ops: Counter[str] = Counter()
    coded: list[Ints] = []
    parts: dict[str, list[Ints]] = {name: [] for name in _COLUMNS}
    known: dict[str, list[npt.NDArray[np.bool_]]] = {name: [] for name in _COLUMNS}
    blocks: list[npt.NDArray[np.uint64]] = []
    counts: list[Ints] = []
    rows, whole = 0, True
    for batch in trace.batches():
        if rows + batch.num_rows > most_rows:
            batch, whole = batch.slice(0, most_rows - rows), False
        if not batch.num_rows:
            break
        rows += batch.num_rows
        arrivals.append(np.array(ints(batch, "arrival_ns")))
        words = batch.column("op").dictionary.to_pylist()
        for word in words:
            ops.setdefault(word, len(ops))
        coded.append(np.array([ops[word] for word in words], dtype=np.int64)[batch.column("op").indices.to_numpy()])
        for name in _COLUMNS:
            there = present(batch, name)
            known[name].append(there)
            values = ints(batch, name)
            parts[name].append(np.where(there, values.astype(np.uint64).view(np.int64) if values.dtype == np.uint64 else values, -1))
        prefix = batch.column("prefix_hashes")
        if prefix.null_count < len(prefix):
            lengths = np.diff(prefix.offsets.to_numpy()) if not prefix.null_count else np.array([len(x or ()) for x in prefix.to_pylist()])
            counts.append(lengths.astype(np.int64))
            blocks.append(prefix.flatten().to_numpy())
            whole = whole and sum(map(len, blocks)) <= MOST_BLOCKS
        if not whole:
            break
    if rows < 100:
        raise InvalidInput(f"{trace.meta.name}: {rows} rows; expected at least 100 to learn from; take a longer trace")
    there_of = {name: np.concatenate(found) for name, found in known.items()}
    return Sample(
        meta=trace.meta,
        whole=whole,
        arrival_ns=np.concatenate(arrivals),
        ops=tuple(ops),
        op=np.concatenate(coded),
        columns={name: np.concatenate(parts[name]) for name, there in there_of.items() if there.any()},
        known=there_of,
        blocks=np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.uint64),
        block_ends=np.cumsum(np.concatenate(counts)) if counts else np.zeros(0, dtype=np.int64),
    )


def times_s(sample: Sample) -> tuple[Floats, float, bool]:
    """Times in seconds from the start, how fine they are, and whether they were spread at random within stamps that are too coarse."""
    resolution = sample.meta.arrival_resolution_ns
    if resolution < COARSE_NS:
        return (sample.arrival_ns - min(0, int(sample.arrival_ns[0]))) / 1e9, max(resolution, 1) / 1e9, False
    shift = uniform_all(stream(0, "fit", "dither"), np.arange(sample.rows, dtype=np.uint64)) * resolution
    spread: Floats = np.sort(sample.arrival_ns + shift) / 1e9
    return spread, 1e-9, True


def significant(value: float, digits: int = 5) -> str:
    """A number for a spec, without an exponent where it can be."""
    text = f"{float(value):.{digits}g}"
    return text if "e" not in text else f"{float(text):.0f}" if abs(value) >= 1 else f"{float(text):.12f}".rstrip("0")


def shown(parts: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in parts.items())
