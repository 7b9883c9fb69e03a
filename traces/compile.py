"""Trace + transforms -> one canonical Parquet file by content hash, ready for a paced replay.

Same inputs give the same bytes; a finished compilation is found again by a digest of its inputs. Memory is
constant in the length of the trace. Decides nothing about nodes or time: the plan does.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from traces.ahead import ahead
from traces.compiled import Compiled, open_compiled, preload_rows, shard_batches
from traces.contents import Tally
from traces.errors import InvalidInput
from traces.formats.reading import file_sha256
from traces.projection import project, projection_of
from traces.publishing import checked_place, part_beside, put_in_place
from traces.schema import BATCH_ROWS, SCHEMA, TraceMeta, ints
from traces.stream import Trace, extent, file_sha256_in, limit, rebatched
from traces.transforms import TransformSpec, apply, identity_of, transform_of

__all__ = [
    "Compiled",
    "compile_workload",
    "compose",
    "open_compiled",
    "preload_rows",
    "save_trace",
    "shard_batches",
    "write_trace",
]

COMPILER_VERSION = "2"
COARSEST_NS = 1_000_000
"""Recorded stamps coarser than this say nothing about pacing: a choice must be made, and be seen to be
made.
"""


_LAYOUT: Mapping[str, object] = {
    "compression": "zstd",
    "version": "2.6",
    "use_dictionary": [*(f.name for f in SCHEMA if pa.types.is_dictionary(f.type)), "key_bytes", "req_bytes", "resp_bytes", "ttl_ms"],
    "column_encoding": {"arrival_ns": "DELTA_BINARY_PACKED", "seq": "DELTA_BINARY_PACKED"},
    "write_statistics": ["arrival_ns", "key_id"],
    "data_page_version": "2.0",
    "write_batch_size": BATCH_ROWS,
}
"""Half the bytes and half the time of the writer's defaults, which try a dictionary for times and keys that never repeat. Pages of
version 2 keep apart what is null, so that nothing is compressed for columns that say nothing: most of most traces.
"""


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
    rate_over: Literal["trace", "replayed"] = "trace",
) -> Compiled:
    """The first `duration_ns` of `trace` as requests of `driver`.

    Order: transforms in the source's time (spread, window), the asked rate as a speedup, transforms of pace
    (speedup, loop), a loop and a cut to the duration, the projection, then all that bend the load
    (rate_scale, burst, op_mix, ...).

    `rate_per_s` is what the mean over the whole trace becomes, so that the speedup does not depend on the
    duration; an uneven trace then offers another rate within the duration, and a note says so. With
    `rate_over="replayed"` the speedup is such that the part which is replayed has the rate.

    Raises InvalidInput for a trace or transform that cannot be used.
    """
    if duration_ns <= 0:
        raise InvalidInput(f"{trace.meta.name}: a duration of {duration_ns} ns; expected above 0")
    out_dir.mkdir(parents=True, exist_ok=True)
    specs = list(transforms)
    wanted = _digest(trace, specs, seed, driver, rate_per_s, duration_ns, projection or {}, spread, rate_over)
    found = _remembered(out_dir, wanted)
    if found is not None:
        return found
    composed, notes = compose(
        trace, specs, driver=driver, rate_per_s=rate_per_s, duration_ns=duration_ns, seed=seed,
        projection=projection or {}, spread=spread, rate_over=rate_over,
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
    rate_over: Literal["trace", "replayed"],
) -> tuple[Trace, tuple[str, ...]]:
    """The trace that will be replayed, still unread, and notes on how it came about."""
    notes: list[str] = []
    projection_of(trace.meta, driver)  # what cannot be sent at all is said before what it would take
    by_stage: dict[str, list[TransformSpec]] = {"source": [], "pace": [], "bend": []}
    for spec in transforms:
        by_stage[transform_of(spec).stage].append(spec)
    source = by_stage["source"]
    if spread is not None:
        options = {"rate": f"{rate_per_s!r}/s"} if trace.meta.arrival_model == "none" and rate_per_s is not None else {}
        source.insert(0, TransformSpec("spread", spread, options))
    elif not any(spec.name == "spread" for spec in source):
        refuse_coarse(trace.meta)
    name = trace.meta.name
    trace = apply(trace, source, seed)
    if rate_per_s is not None:
        mean = mean_rate_per_s(trace)
        factor = rate_per_s / mean
        if rate_over == "replayed":
            factor = _replayed_factor(trace, rate_per_s, duration_ns) or factor
        notes.append(f"{name}: mean rate {mean:.6g}/s, speedup {factor:.6g} makes it {mean * factor:.6g}/s")
        trace = apply(trace, [TransformSpec("speedup", factor)], seed)
    trace = apply(trace, by_stage["pace"], seed)
    trace = apply(trace, [TransformSpec("loop", f"{duration_ns}ns")], seed)
    rounds = trace.meta.transforms[-1].get("rounds", 1)
    if rounds > 1:
        notes.append(f"{name}: shorter than {duration_ns / 1e9:g} s, so it repeats {rounds} times; its keys repeat with it")
    if rate_per_s is not None and trace.meta.arrival_model != "generated":
        offered = extent(trace).rows * 1e9 / duration_ns
        if abs(offered / rate_per_s - 1) > 0.1:
            notes.append(
                f"{name}: the {duration_ns / 1e9:g} s replayed offer {offered:.6g}/s, not "
                f"{rate_per_s:.6g}/s: its load is uneven over its span; a window of it, or a longer run, "
                "comes nearer"
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
        "requests lie within a stamp with spread: poisson|equidistant|start"
    )


def mean_rate_per_s(trace: Trace) -> float:
    """Rows over the span of the trace. Raises InvalidInput where it has no span."""
    if not trace.bounded and trace.rate_hint_per_s:
        return trace.rate_hint_per_s
    size = extent(trace)
    if size.span_ns <= 0:
        raise InvalidInput(
            f"{trace.meta.name}: {size.rows} requests at one instant have no rate; expected a span above 0 to scale; leave the rate out"
        )
    return size.rows * 1e9 / size.span_ns


def _replayed_factor(trace: Trace, rate_per_s: float, duration_ns: int) -> float | None:
    """The speedup at which as many requests as the rate asks for lie within the duration; None where the
    trace has no more than that, and will repeat.
    """
    wanted, done = round(rate_per_s * duration_ns / 1e9), 0
    for batch in trace.batches():
        if done + batch.num_rows > wanted:
            return int(ints(batch, "arrival_ns")[wanted - done]) / duration_ns or None
        done += batch.num_rows
    return None


def write_trace(trace: Trace, out_dir: Path, *, duration_ns: int | None = None) -> Compiled:
    """Writes <out_dir>/<sha256>.parquet. `duration_ns` only sets the rate that is told; without it the span
    does.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    return _publish(trace, out_dir, None, duration_ns)


def save_trace(trace: Trace, path: Path) -> Compiled:
    """Writes `trace` as a canonical file at `path`, replacing what is there."""
    checked_place(path)
    return _publish(trace, path.parent, path, None)


def _publish(trace: Trace, folder: Path, path: Path | None, duration_ns: int | None) -> Compiled:
    with part_beside(folder) as part:
        meta, tally = _write(trace, part)
        sha256 = file_sha256(part)
        path = path or folder / f"{sha256}.parquet"
        put_in_place(part, path)
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
    with pq.ParquetWriter(part, SCHEMA, **_LAYOUT) as writer:
        batches = _tallied(trace, tally)
        for batch in batches if len(os.sched_getaffinity(0)) == 1 else ahead(batches):  # on one core a thread only costs its switches
            writer.write_batch(batch, row_group_size=BATCH_ROWS)
        if not tally.rows:
            raise InvalidInput(
                f"{trace.meta.name}: no request is left after the cuts and transforms; expected at least "
                "one; widen the window or the duration"
            )
        meta = dataclasses.replace(
            trace.meta,
            source_sha256=trace.meta.source_sha256 or file_sha256_in(trace.identity()),
            rows=tally.rows,
            span_ns=tally.span_ns,
            content_sha256=tally.content_sha256(),
            facts=tally.facts(),
        )
        writer.add_key_value_metadata(meta.to_metadata())
    return meta, tally


def _tallied(trace: Trace, tally: Tally) -> Iterator[pa.RecordBatch]:
    for batch in rebatched(trace.batches(), BATCH_ROWS):
        tally.add(batch)
        yield batch


def _digest(trace: Trace, specs: Iterable[TransformSpec], seed: int, *rest: object) -> str:
    """Of all that decides the bytes: rows, transforms, arguments, and who writes."""
    said = [
        trace.identity(),
        [identity_of(spec, seed) for spec in specs],
        [seed, *(dict(sorted(part.items())) if isinstance(part, Mapping) else part for part in rest)],
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
