"""One set of figures for any trace: arrivals, ops, popularity, sizes.

Rates count in seconds of the source's own clock, empty ones included; gaps vary by population deviation over
mean; quantiles are linear; zipf_ols is the slope of log frequency on log rank, over ranks 1 to R, R the
number of keys seen at least twice, at most 10,000. Figures are rounded to six digits. Holds 8 bytes a row and
described column in memory.
"""

import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.errors import InvalidInput
from traces.schema import ints, present
from traces.stream import Trace

QUANTILES = (0, 1, 25, 50, 75, 90, 99, 100)
_SIZES = ("req_bytes", "resp_bytes", "prompt_tokens", "output_tokens")
_MOST_SECONDS = 5_000_000
"""Longer traces get no figures by second."""

Ints = npt.NDArray[np.int64]


def rounded(value: float, digits: int = 6) -> float | int:
    """To significant digits; whole numbers as int."""
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**63 else float(f"{number:.{digits}g}")


def describe(trace: Trace) -> dict[str, Any]:
    """The figures, as `trace info --json` prints them; keys are absent where the trace has no such column.

    Raises InvalidInput for a trace without rows or without an end.
    """
    if not trace.bounded:
        raise InvalidInput(f"{trace.meta.name}: a synthesis without an end; expected a length; add ,for=10s or ,rows=N")
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ("arrival", "key", "length", "service", *_SIZES)}
    ops: Counter[str] = Counter()
    for batch in trace.batches():
        if not batch.num_rows:
            continue
        parts["arrival"].append(ints(batch, "arrival_ns"))
        op = batch.column("op")
        counts = np.bincount(op.indices.to_numpy(), minlength=len(op.dictionary))
        ops.update({word: int(n) for word, n in zip(op.dictionary.to_pylist(), counts, strict=True) if n})
        for name, column in (
            ("key", "key_id"),
            ("service", "service_ns"),
            *((size, size) for size in _SIZES),
        ):
            known = present(batch, column)
            if known.any():
                values = ints(batch, column)
                parts[name].append(values if known.all() else values[known])
        if trace.meta.kinds == ("block",):
            asked, given = present(batch, "req_bytes"), present(batch, "resp_bytes")
            length = np.where(asked, ints(batch, "req_bytes"), ints(batch, "resp_bytes"))
            parts["length"].append(length[asked | given])
    if not parts["arrival"]:
        raise InvalidInput(f"{trace.meta.name}: no rows; expected at least one request; check the file")
    columns = {name: np.concatenate(found) for name, found in parts.items() if found}
    del parts
    said: dict[str, Any] = {
        "arrival": arrival_figures(columns["arrival"], trace.meta.source_offset_ns, trace.meta.arrival_resolution_ns),
        "ops": dict(sorted(ops.items())),
    }
    if "key" in columns:
        said["popularity"] = popularity(columns["key"])
        said["keys"] = said["popularity"]["unique_keys"]
    for name in _SIZES:
        if name in columns:
            said[name] = spread_of(columns[name])
    if "length" in columns:
        said["len_bytes"] = spread_of(columns["length"])
    if "service" in columns:
        said["service_s"] = spread_of(columns["service"] / 1e9)
    if trace.meta.loss_notes:
        said["notes"] = trace.meta.loss_notes
    return said


def arrival_figures(arrival: Ints, offset_ns: int, resolution_ns: int) -> dict[str, Any]:
    """Figures of sorted arrivals; offset_ns is the source's clock at 0, which decides where its seconds
    begin.
    """
    span_ns = int(arrival[-1] - arrival[0])
    gaps = np.diff(arrival)
    mean_gap = float(gaps.mean()) if len(gaps) else 0.0
    said: dict[str, Any] = {
        "rows": len(arrival),
        "span_s": rounded(span_ns / 1e9, 10),
        "mean_rate_per_s": rounded(len(arrival) * 1e9 / span_ns) if span_ns else None,
        "iat_mean_s": rounded(mean_gap / 1e9) if len(gaps) else None,
        "iat_cv": rounded(float(gaps.std()) / mean_gap) if mean_gap > 0 else None,
        "zero_gaps": int((gaps == 0).sum()),
    }
    seconds = (arrival + offset_ns) // 10**9
    if seconds[-1] - seconds[0] < _MOST_SECONDS:
        counts = np.bincount(seconds - seconds[0])
        said["rate_p50"] = rounded(np.percentile(counts, 50))
        said["rate_p99"] = rounded(np.percentile(counts, 99))
        said["rate_max"] = int(counts.max())
        said["empty_seconds_frac"] = rounded(float((counts == 0).mean()))
    said["resolution_ns"] = resolution_ns
    return said


def spread_of(values: npt.NDArray[Any]) -> dict[str, Any]:
    """Quantiles, mean and sum of a column."""
    numbers = values.astype(np.float64)
    levels = np.percentile(numbers, QUANTILES)
    said: dict[str, Any] = {f"p{level}": rounded(value) for level, value in zip(QUANTILES, levels, strict=True)}
    return said | {"mean": rounded(numbers.mean()), "sum": rounded(numbers.sum(), 12), "n": len(numbers)}


def popularity(keys: npt.NDArray[np.uint64]) -> dict[str, Any]:
    """How requests fall on keys."""
    counts = np.sort(np.unique(keys, return_counts=True)[1])[::-1]
    total, unique = int(counts.sum()), len(counts)
    ranks = int(min(10_000, (counts >= 2).sum()))
    slope = None
    if ranks >= 10:
        fitted = np.polyfit(np.log(np.arange(1, ranks + 1)), np.log(counts[:ranks]), 1)[0]
        slope = rounded(-fitted, 4) if math.isfinite(fitted) else None
    return {
        "unique_keys": unique,
        "top1_share": rounded(counts[0] / total, 4),
        "top1pct_share": rounded(counts[: max(1, unique // 100)].sum() / total, 4),
        "one_hit_keys_frac": rounded(float((counts == 1).mean()), 4),
        "zipf_ols": slope,
        "zipf_ranks": ranks,
        "mean_freq": rounded(total / unique),
    }
