"""Trace + transforms -> one canonical Parquet file by content hash, ready for a paced replay; and what agents
read of it.

Same inputs give the same bytes; a finished compilation is found again by a digest of its inputs. Memory is
constant in the length of the trace. Decides nothing about nodes or time: the plan does.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from traces.contents import Tally
from traces.errors import InvalidInput
from traces.formats.parquet import canonical_batches, canonical_meta, canonical_trace, open_parquet
from traces.formats.reading import file_sha256
from traces.projection import project
from traces.schema import BATCH_ROWS, SCHEMA, TraceMeta, batch_of, ints, present
from traces.stream import Trace, extent, limit, rebatched
from traces.transforms import TransformSpec, apply, transform_of
from traces.transforms.shard import part_of

COMPILER_VERSION = "1"
COARSEST_NS = 1_000_000
"""Recorded stamps coarser than this say nothing about pacing: a choice must be made, and be seen to be
made.
"""


@dataclass(frozen=True)
class Compiled:
    """A compiled trace. `rate_per_s` is rows over the asked duration; `facts` is for reading, `notes` are for
    a person.
    """

    path: Path
    sha256: str
    rows: int
    bytes: int
    span_ns: int  # last arrival - first arrival
    rate_per_s: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def compile_workload(
    trace: Trace,
    transforms: Sequence[TransformSpec],
    *,
    driver: str,
    duration_ns: int,
    out_dir: Path,
    rate_per_s: float | None = None,
    seed: int = 0,
    projection: Mapping[str, object] | None = None,
    spread: str | None = None,
) -> Compiled:
    """The first `duration_ns` of `trace` as requests of `driver`.

    Order: transforms in the source's time (window, spread), the asked rate as a speedup, transforms of pace
    (speedup, loop), a loop and a cut to the duration, the projection, then all that bend the load
    (rate_scale, burst, op_mix, ...). `rate_per_s` is what the whole trace's mean becomes: an uneven trace may
    offer another rate within the duration. Raises InvalidInput for a trace or transform that cannot be used.
    """
    if duration_ns <= 0:
        raise InvalidInput(f"{trace.meta.name}: a duration of {duration_ns} ns; expected above 0")
    out_dir.mkdir(parents=True, exist_ok=True)
    specs = list(transforms)
    wanted = _digest(trace, specs, driver, rate_per_s, duration_ns, seed, projection or {}, spread)
    found = _remembered(out_dir, wanted)
    if found is not None:
        return found
    composed, notes = compose(
        trace, specs, driver=driver, rate_per_s=rate_per_s, duration_ns=duration_ns, seed=seed,
        projection=projection or {}, spread=spread,
    )  # fmt: skip
    made = write_trace(composed, out_dir, duration_ns=duration_ns)
    made = dataclasses.replace(made, notes=notes)
    _remember(out_dir, wanted, made)
    return made


def compose(
    trace: Trace,
    transforms: Sequence[TransformSpec],
    *,
    driver: str,
    duration_ns: int,
    rate_per_s: float | None,
    seed: int,
    projection: Mapping[str, object],
    spread: str | None,
) -> tuple[Trace, tuple[str, ...]]:
    """The trace that will be replayed, still unread, and notes on how it came about."""
    notes: list[str] = []
    by_stage: dict[str, list[TransformSpec]] = {"source": [], "pace": [], "bend": []}
    for spec in transforms:
        by_stage[transform_of(spec).stage].append(spec)
    source = by_stage["source"]
    if spread is not None:
        options = (
            {"rate": f"{rate_per_s!r}/s"}
            if trace.meta.arrival_model == "none" and rate_per_s is not None
            else {}
        )
        source.append(TransformSpec("spread", spread, options))
    elif not any(spec.name == "spread" for spec in source):
        refuse_coarse(trace.meta)
    name = trace.meta.name
    trace = apply(trace, source, seed)
    if rate_per_s is not None:
        mean = mean_rate_per_s(trace)
        factor = rate_per_s / mean
        notes.append(f"{name}: mean rate {mean:.6g}/s, speedup {factor:.6g} makes it {rate_per_s:.6g}/s")
        trace = apply(trace, [TransformSpec("speedup", factor)], seed)
    trace = apply(trace, by_stage["pace"], seed)
    trace = apply(trace, [TransformSpec("loop", f"{duration_ns}ns")], seed)
    rounds = trace.meta.transforms[-1].get("rounds", 1)
    if rounds > 1:
        notes.append(
            f"{name}: shorter than {duration_ns / 1e9:g} s, so it repeats {rounds} times; its keys "
            "repeat with it"
        )
    if rate_per_s is not None and trace.meta.arrival_model != "generated":
        offered = extent(trace).rows * 1e9 / duration_ns
        if abs(offered / rate_per_s - 1) > 0.1:
            notes.append(
                f"{name}: the {duration_ns / 1e9:g} s replayed offer {offered:.6g}/s, not "
                f"{rate_per_s:.6g}/s: its load is "
                "uneven over its span; a window of it, or a longer run, comes nearer"
            )
    trace = project(trace, driver, **projection)
    trace = apply(trace, by_stage["bend"], seed)
    notes.extend(f"{name}: {note}" for note in trace.meta.loss_notes.split("; ") if note)
    return limit(trace, duration_ns), tuple(notes)


def refuse_coarse(meta: TraceMeta) -> None:
    """Raises InvalidInput for stamps that a paced replay cannot follow."""
    if meta.arrival_model == "none":
        what = "has no times"
    elif meta.arrival_resolution_ns > COARSEST_NS:
        what = f"has stamps of {meta.arrival_resolution_ns / 1e9:g} s"
    else:
        return
    raise InvalidInput(
        f"{meta.name}: {what}, too coarse to pace a replay; expected stamps of 1 ms or finer; choose how "
        "requests lie within "
        "a stamp with spread: poisson|equidistant|start"
    )


def mean_rate_per_s(trace: Trace) -> float:
    """Rows over the span of the trace. Raises InvalidInput where it has no span."""
    if not trace.bounded and trace.rate_hint_per_s:
        return trace.rate_hint_per_s
    size = extent(trace)
    if size.span_ns <= 0:
        raise InvalidInput(
            f"{trace.meta.name}: {size.rows} requests at one instant have no rate; expected a span above "
            "0 to scale; "
            "leave the rate out"
        )
    return size.rows * 1e9 / size.span_ns


def write_trace(trace: Trace, out_dir: Path, *, duration_ns: int | None = None) -> Compiled:
    """Writes canonical Parquet as <out_dir>/<sha256>.parquet: synced, then renamed. `duration_ns` only sets
    the rate.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out_dir, suffix=".parquet.part")
    os.close(handle)
    part = Path(name)
    try:
        meta, tally = _write(trace, part)
        sha256 = file_sha256(part)
        path = out_dir / f"{sha256}.parquet"
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(out_dir)
    seconds = (duration_ns if duration_ns is not None else max(1, tally.span_ns)) / 1e9
    return Compiled(
        path=path,
        sha256=sha256,
        rows=tally.rows,
        bytes=path.stat().st_size,
        span_ns=tally.span_ns,
        rate_per_s=tally.rows / seconds,
        facts=meta.facts,
    )


def _write(trace: Trace, part: Path) -> tuple[TraceMeta, Tally]:
    tally = Tally()
    with pq.ParquetWriter(part, SCHEMA, compression="zstd", version="2.6") as writer:
        for batch in rebatched(trace.batches(), BATCH_ROWS):
            tally.add(batch)
            writer.write_batch(batch, row_group_size=BATCH_ROWS)
        if not tally.rows:
            raise InvalidInput(
                f"{trace.meta.name}: no request is left after the cuts and transforms; expected at least "
                "one; widen the window "
                "or the duration"
            )
        meta = dataclasses.replace(
            trace.meta,
            rows=tally.rows,
            span_ns=tally.span_ns,
            content_sha256=tally.content_sha256(),
            facts=tally.facts(),
        )
        writer.add_key_value_metadata(meta.to_metadata())
    return meta, tally


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(trace: Trace, specs: Iterable[TransformSpec], *rest: object) -> str:
    """Of all that decides the bytes: rows, transforms, arguments, and who writes."""
    said = [
        trace.identity(),
        [[spec.name, spec.value, sorted(spec.options.items())] for spec in specs],
        [dict(sorted(part.items())) if isinstance(part, Mapping) else part for part in rest],
        [COMPILER_VERSION, pa.__version__, np.__version__],
    ]
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()


def _remembered(out_dir: Path, digest: str) -> Compiled | None:
    index = out_dir / f"{digest}.compiled.json"
    try:
        raw = json.loads(index.read_text())
        path = out_dir / f"{raw['sha256']}.parquet"
        if not path.is_file() or file_sha256(path) != raw["sha256"]:
            return None  # cut short or gone: compile again
        return Compiled(**{**raw, "path": path, "notes": tuple(raw["notes"])})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{index}: {error}; expected what offspec wrote; delete the file") from error


def _remember(out_dir: Path, digest: str, made: Compiled) -> None:
    index = out_dir / f"{digest}.compiled.json"
    part = index.with_suffix(".part")
    part.write_text(json.dumps({**dataclasses.asdict(made), "path": made.path.name}))
    part.replace(index)


def open_compiled(path: Path) -> Trace:
    """A compiled trace again. Raises InvalidInput for a file that is cut short or none of offspec's."""
    if not path.is_file():
        raise InvalidInput(f"{path}: no such file; expected a compiled trace; fetch or compile it again")
    with open_parquet(path) as file:
        meta = canonical_meta(path, file)
        rows = file.metadata.num_rows
    if meta is None:
        raise InvalidInput(f"{path}: not a compiled trace; expected one written by offspec; import it first")
    if meta.rows != rows:
        raise InvalidInput(
            f"{path}: {rows} rows, its metadata says {meta.rows}; expected the same; compile it again"
        )
    return canonical_trace(path, meta, rows)


def _check_shard(path: Path, shard: int, shards: int) -> None:
    if not 0 <= shard < shards:
        raise InvalidInput(f"{path}: shard {shard} of {shards}; expected 0 to {shards - 1}")


def shard_batches(path: Path, shard: int = 0, shards: int = 1) -> pa.RecordBatchReader:
    """One agent's requests of a compiled trace, as an Arrow stream in constant memory. All shards together
    are the trace.
    """
    _check_shard(path, shard, shards)
    open_compiled(path)

    def parts() -> Iterator[pa.RecordBatch]:
        for batch in canonical_batches(path):
            part = part_of(batch, shard, shards)
            if part.num_rows:
                yield part

    return pa.RecordBatchReader.from_batches(SCHEMA, parts())


def preload_rows(path: Path, shard: int = 0, shards: int = 1) -> pa.Table:
    """`set` requests that store each distinct key of a shard once, at the largest size that the trace knows
    of it.

    A key whose size nobody knows is left out: its gets miss, as they did in the source. Memory is that of the
    distinct keys. Raises InvalidInput for a trace that is not of key-value requests.
    """
    _check_shard(path, shard, shards)
    trace = open_compiled(path)
    if trace.meta.kinds != ("kv",):
        raise InvalidInput(
            f"{path}: a trace of kind {', '.join(trace.meta.kinds) or 'unknown'} has nothing to preload; "
            "expected kv; set preload "
            "to false"
        )
    keys, sizes, lengths = (np.empty(0, dtype=kind) for kind in (np.uint64, np.int64, np.uint32))
    for whole in trace.batches():
        batch = part_of(whole, shard, shards)
        size = np.maximum(ints(batch, "req_bytes", -1), ints(batch, "resp_bytes", -1))
        known = present(batch, "key_id") & (size >= 0)
        keys = np.concatenate((keys, ints(batch, "key_id")[known]))
        sizes = np.concatenate((sizes, size[known]))
        lengths = np.concatenate((lengths, ints(batch, "key_bytes", 16)[known]))
        order = np.lexsort((sizes, keys))
        last = np.append(keys[order][1:] != keys[order][:-1], np.ones(min(1, len(order)), dtype=np.bool_))
        keys, sizes, lengths = (column[order][last] for column in (keys, sizes, lengths))
    batches = [
        batch_of(
            {
                "arrival_ns": np.zeros(len(keys[at : at + BATCH_ROWS]), dtype=np.int64),
                "seq": np.arange(at, at + len(keys[at : at + BATCH_ROWS]), dtype=np.uint64),
                "kind": "kv",
                "op": "set",
                "key_id": keys[at : at + BATCH_ROWS],
                "key_bytes": lengths[at : at + BATCH_ROWS],
                "req_bytes": sizes[at : at + BATCH_ROWS],
            },
            len(keys[at : at + BATCH_ROWS]),
        )
        for at in range(0, len(keys), BATCH_ROWS)
    ]
    return pa.Table.from_batches(batches, schema=SCHEMA)
