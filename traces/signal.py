"""Signals: samples of usage in time (CPU of a VM, queries per second of a container), which are not requests and are never replayed.

The second, small schema: one row is one sample of one metric of one series; metrics have their unit in the name. Samples come as their
source has them: series one after another, or mixed.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from traces.characterise import QUANTILES, rounded
from traces.errors import InvalidInput
from traces.portrait.bins import WIDTH, Binned
from traces.publishing import checked_place, part_beside, put_in_place
from traces.schema import BATCH_ROWS, LABEL, TraceMeta

SIGNAL = "signal"
"""Stands as the kind in a signal's metadata."""

EXACT_SAMPLES = 1 << 20

SIGNAL_SCHEMA = pa.schema(
    [
        pa.field("t_ns", pa.int64(), nullable=False),
        pa.field("series", LABEL, nullable=False),
        pa.field("metric", LABEL, nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Signal:
    """`make`: batches of SIGNAL_SCHEMA from the start at each call. `origin`: as a trace's identity."""

    meta: TraceMeta
    make: Callable[[], Iterator[pa.RecordBatch]]
    origin: Callable[[], str]

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self.make()

    def identity(self) -> str:
        return self.origin()

    def refusal(self, spec: object) -> InvalidInput:
        """What to say where requests are wanted."""
        return InvalidInput(
            f"{spec}: {self.meta.importer} reads samples of usage (a signal) from it, not requests; expected a trace of requests; "
            "describe it with offspec trace info, or write it as Parquet with offspec trace import"
        )


def describe_signal(signal: Signal) -> dict[str, Any]:
    """The figures, as `trace info --json` prints them, in memory that grows with the series alone. Raises InvalidInput for a signal without
    samples.
    """
    series: set[str] = set()
    values: dict[str, _Values] = {}
    first, last, samples = 2**63 - 1, -(2**63), 0
    for batch in signal.batches():
        if not batch.num_rows:
            continue
        samples += batch.num_rows
        stamps = batch.column("t_ns").to_numpy()
        first, last = min(first, int(stamps.min())), max(last, int(stamps.max()))
        used = batch.column("series")
        series.update(used.dictionary.take(used.indices.unique()).to_pylist())
        metric = batch.column("metric")
        codes, numbers = metric.indices.to_numpy(), batch.column("value").to_numpy()
        for code in np.unique(codes):
            values.setdefault(metric.dictionary[int(code)].as_py(), _Values()).add(numbers[codes == code])
    if not samples:
        raise _empty(signal)
    said: dict[str, Any] = {
        "kind": SIGNAL,
        "samples": samples,
        "series": len(series),
        "span_s": rounded((last - first) / 1e9, 10),
        "resolution_ns": signal.meta.arrival_resolution_ns,
        "metrics": {name: found.spread() for name, found in sorted(values.items())},
    }
    return said | ({"notes": signal.meta.loss_notes} if signal.meta.loss_notes else {})


class _Values:
    """Of one metric: exact while they are few, then quantiles within a bin's width."""

    def __init__(self) -> None:
        self._count, self._sum, self._least, self._most = 0, 0.0, np.inf, -np.inf
        self._held: list[npt.NDArray[np.float64]] = []
        self._binned = Binned()

    def add(self, numbers: npt.NDArray[np.float64]) -> None:
        rows = np.arange(self._count, self._count + len(numbers), dtype=np.int64)
        self._binned.add(numbers, rows)
        self._count, self._sum = self._count + len(numbers), self._sum + float(numbers.sum())
        self._least, self._most = min(self._least, float(numbers.min())), max(self._most, float(numbers.max()))
        if self._count <= EXACT_SAMPLES:
            self._held.append(numbers)
        else:
            self._held = []

    def spread(self) -> dict[str, Any]:
        """As a column of a trace is described; `within` is the relative error of quantiles that are not exact."""
        bins = self._binned.bins()
        if self._held or bins is None:
            levels = np.percentile(np.concatenate(self._held), QUANTILES).tolist()
        else:
            inner = [bins.quantile(level / 100) for level in QUANTILES[1:-1]]
            levels = [self._least, *inner, self._most]
        said: dict[str, Any] = {f"p{level}": rounded(value) for level, value in zip(QUANTILES, levels, strict=True)}
        said |= {"mean": rounded(self._sum / self._count), "sum": rounded(self._sum, 12), "n": self._count}
        return said if self._held else said | {"within": WIDTH}


@dataclass(frozen=True)
class Saved:
    path: Path
    rows: int
    bytes: int
    span_ns: int


def save_signal(signal: Signal, path: Path) -> Saved:
    """Writes `signal` as Parquet at `path`, whole or not at all. Raises InvalidInput for one without samples."""
    checked_place(path)
    rows, first, last = 0, 2**63 - 1, -(2**63)
    with part_beside(path.parent) as part:
        with pq.ParquetWriter(part, SIGNAL_SCHEMA, compression="zstd") as writer:
            for batch in signal.batches():
                if batch.num_rows:
                    writer.write_batch(batch, row_group_size=BATCH_ROWS)
                    stamps = batch.column("t_ns").to_numpy()
                    rows, first, last = rows + batch.num_rows, min(first, int(stamps.min())), max(last, int(stamps.max()))
            if not rows:
                raise _empty(signal)
            meta = dataclasses.replace(signal.meta, rows=rows, span_ns=last - first, sorted=False)
            writer.add_key_value_metadata(meta.to_metadata())
        put_in_place(part, path)
    return Saved(path, rows, path.stat().st_size, last - first)


def _empty(signal: Signal) -> InvalidInput:
    return InvalidInput(f"{signal.meta.name}: no samples; expected at least one; check the file")
