"""Reads an attempt's tables from the run's folder."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from controller.analysis.hdr import Histogram, decode, merged
from protos.records import TABLES
from traces.errors import InvalidInput


def read_table(run_dir: Path, table: str, trial: str, attempt: int) -> pa.Table:
    """All agents' rows of one table, empty where there are none. Raises InvalidInput for a damaged file."""
    folder = run_dir / table / f"trial={trial}" / f"attempt={attempt}"
    parts = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            parts.append(pq.read_table(path, schema=TABLES[table], partitioning=None))
        except (pa.ArrowInvalid, OSError) as error:
            raise InvalidInput(f"{path}: damaged ({str(error).splitlines()[0]}); restore it, or repeat the trial") from None
    return pa.concat_tables(parts) if parts else TABLES[table].empty_table()


def last_samples(metrics: pa.Table) -> list[tuple[str, dict[str, str], float]]:
    """The last value of each series: name, labels, value."""
    found: dict[tuple[str, str, str], tuple[str, dict[str, str], float]] = {}
    columns = (metrics[n].to_pylist() for n in ("instance", "name", "labels", "value"))
    for instance, name, labels, value in zip(*columns, strict=True):
        found[instance, name, str(labels)] = (name, dict(labels), value)
    return list(found.values())


def histograms(table: pa.Table) -> dict[str, Histogram]:
    """Kind -> all ops, seconds and agents of the measured phase, merged exactly."""
    by_kind: dict[str, list[Histogram]] = {"slip": [], "service": [], "response": []}
    for kind, phase, raw in zip(*(table[n].to_pylist() for n in ("kind", "phase", "hdr")), strict=True):
        if phase == "measure":
            by_kind[kind].append(decode(raw))
    return {kind: merged(parts) for kind, parts in by_kind.items()}


def by_second(table: pa.Table, kind: str) -> dict[int, Histogram]:
    """Second -> all ops and agents, warm-up included."""
    parts: dict[int, list[Histogram]] = {}
    for second, this, raw in zip(*(table[n].to_pylist() for n in ("second", "kind", "hdr")), strict=True):
        if this == kind:
            parts.setdefault(second, []).append(decode(raw))
    return {second: merged(found) for second, found in sorted(parts.items())}
