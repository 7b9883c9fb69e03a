"""One set of figures for any trace: arrivals, ops, popularity, reuse, sizes, tokens, prefixes, sessions.

Rates count in seconds of the source's own clock, empty ones included; gaps vary by population deviation over mean; quantiles are linear;
zipf_ols is the slope of log frequency on log rank, over ranks 1 to R, R the number of keys seen at least twice, at most 10,000. Figures are
rounded to six digits. Memory is constant in the length of the trace (`traces.portrait`): what is no longer exact for that stands under
`approximate`, with its error.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from traces import zipf
from traces.dependence import autocorrelation, hurst
from traces.portrait import Portrait, portrait_of
from traces.portrait.bins import Bins
from traces.portrait.columns import Column
from traces.portrait.distinct import ERROR
from traces.portrait.gather import Objects
from traces.portrait.keys import MOST_KEYS, KeyCounts, Ranked
from traces.portrait.windows import Counted, Series
from traces.stream import Trace

QUANTILES = (0, 1, 25, 50, 75, 90, 99, 100)
_SIZES = ("req_bytes", "resp_bytes", "prompt_tokens", "output_tokens")
_MOST_SECONDS = 5_000_000
"""Longer traces get no figures by second."""
_LAGS = 60
_WINDOWS_FOR_LAGS = 2048
_REQUESTS_A_WINDOW = 4
_CACHE_STEP = 4


def rounded(value: float, digits: int = 6) -> float | int:
    """To significant digits; whole numbers as int."""
    number = float(value)
    if not number.is_integer():
        number = float(f"{number:.{digits}g}")
    return int(number) if number.is_integer() and abs(number) < 2**63 else number


def describe(trace: Trace) -> dict[str, Any]:
    """The figures of a trace, read once. Raises InvalidInput for a trace without rows or without an end."""
    return figures(portrait_of(trace))


def figures(portrait: Portrait) -> dict[str, Any]:
    """As `trace info --json` prints them; keys are absent where the trace has no such column."""
    said: dict[str, Any] = {
        "arrival": arrival_figures(portrait),
        "rates": [_rate(windows) for windows in _scales(portrait)],
        "burstiness": _burstiness(portrait),
        "ops": dict(sorted(portrait.ops.counts.items())),
    }
    approximate: dict[str, str] = {}
    if portrait.keys.count:
        ranked = portrait.keys.counts.ranked()
        said["popularity"] = popularity(ranked)
        said["keys"] = said["popularity"]["unique_keys"]
        said["keys_are"] = portrait.keys_are
        said["zipf"] = _zipf(ranked)
        said["reuse"] = _reuse(portrait.keys, ranked)
        said["working_set"] = _working_set(portrait)
        approximate |= _sampled_keys("popularity", portrait.keys.counts, ranked)
        approximate |= _sampled_reuse("reuse", portrait.keys)
        approximate["working_set"] = f"HyperLogLog, standard error {ERROR:.1%}"
    for name in _SIZES:
        if name in portrait.columns:
            said[name], error = spread_of(portrait.columns[name])
            approximate |= {name: error} if error else {}
    for name, source, unit in (("len_bytes", "length", 1.0), ("service_s", "service_ns", 1e9)):
        if source in portrait.columns:
            said[name], error = spread_of(portrait.columns[source], unit)
            approximate |= {name: error} if error else {}
    if portrait.blocks_of_request.count:
        said["prefixes"] = _prefixes(portrait)
        approximate |= _sampled_reuse("prefixes", portrait.blocks)
    if portrait.sessions.count:
        said["sessions"] = _sessions(portrait.sessions)
        approximate |= _sampled_reuse("sessions", portrait.sessions)
    if approximate:
        said["approximate"] = approximate
    if portrait.meta.loss_notes:
        said["notes"] = portrait.meta.loss_notes
    return said


def arrival_figures(portrait: Portrait) -> dict[str, Any]:
    """Rows, span, gaps; and counts by second, unless there are too many of those."""
    gaps, span_ns = portrait.gaps, portrait.span_ns
    said: dict[str, Any] = {
        "rows": portrait.rows,
        "span_s": rounded(span_ns / 1e9, 10),
        "mean_rate_per_s": rounded(portrait.rows * 1e9 / span_ns) if span_ns else None,
        "iat_mean_s": rounded(gaps.mean_ns / 1e9) if gaps.count else None,
        "iat_cv": rounded(gaps.variation) if gaps.variation is not None else None,
        "zero_gaps": gaps.zero,
    }
    second = next(windows for windows in portrait.scales.windows if windows.length_ns == 10**9).seen()
    if second.windows <= _MOST_SECONDS:
        said["rate_p50"] = rounded(second.quantile(50))
        said["rate_p99"] = rounded(second.quantile(99))
        said["rate_max"] = int(second.values[-1])
        said["empty_seconds_frac"] = _empty(second)
    said["resolution_ns"] = portrait.meta.arrival_resolution_ns
    return said


def _scales(portrait: Portrait) -> list[Counted]:
    """Those that the clock resolves and that fit into the span."""
    lengths = (
        windows for windows in portrait.scales.windows if portrait.meta.arrival_resolution_ns <= windows.length_ns <= portrait.span_ns
    )
    return [windows.seen() for windows in lengths]


def _empty(counted: Counted) -> float | int:
    return rounded(float(counted.often[0]) / counted.windows if counted.values[0] == 0 else 0.0)


def _rate(counted: Counted) -> dict[str, Any]:
    seconds = counted.length_ns / 1e9
    return {
        "window_s": rounded(seconds),
        "windows": counted.windows,
        "mean_per_s": rounded(float(counted.values @ counted.often) / counted.windows / seconds),
        "p50_per_s": rounded(counted.quantile(50) / seconds),
        "p99_per_s": rounded(counted.quantile(99) / seconds),
        "max_per_s": rounded(counted.values[-1] / seconds),
        "empty_frac": _empty(counted),
        "dispersion": None if counted.dispersion is None else rounded(counted.dispersion),
    }


def series_with_requests(portrait: Portrait) -> Series:
    """The series of counts in windows long enough that they hold some requests each and the clock resolves them."""
    series = portrait.series.series()
    held = float(series.counts.mean())
    times = 1
    while held * times < _REQUESTS_A_WINDOW and len(series.counts) // (times * 2) >= 2:
        times *= 2
    return series.folded(times)


def lagged(portrait: Portrait) -> Series:
    """The same in at most 4,096 windows, for lags that reach somewhere."""
    series = series_with_requests(portrait)
    return series.folded(max(1, len(series.counts) // _WINDOWS_FOR_LAGS))


def _burstiness(portrait: Portrait) -> dict[str, Any]:
    series = series_with_requests(portrait)
    found = hurst(series.counts)
    apart = lagged(portrait)
    lags = autocorrelation(apart.counts, _LAGS)
    window_s = series.window_ns / 1e9
    return {
        "hurst": None
        if found is None
        else {
            "exponent": rounded(found.exponent, 4),
            "standard_error": rounded(found.error, 2),
            "from_s": rounded(found.shortest * window_s),
            "to_s": rounded(found.longest * window_s),
            "estimator": "Abry-Veitch wavelets (Daubechies, two vanishing moments)",
        },
        "autocorrelation": None
        if lags is None or len(apart.counts) < 2 * _LAGS
        else {
            "window_s": rounded(apart.window_ns / 1e9),
            "lags": [rounded(value, 4) for value in lags.tolist()],
            "independent_within": rounded(1.96 / math.sqrt(len(apart.counts)), 3),
        },
    }


def spread_of(column: Column, unit: float = 1.0) -> tuple[dict[str, Any], str]:
    """Quantiles, mean and sum of a column in so many of its own units; and how far the quantiles may err, "" for not at all."""
    levels, error = column.quantiles(QUANTILES)
    said: dict[str, Any] = {f"p{level}": rounded(value / unit) for level, value in zip(QUANTILES, levels, strict=True)}
    whole = {"mean": rounded(column.sum / column.count / unit), "sum": rounded(column.sum / unit, 12), "n": column.count}
    return said | whole, f"quantiles within {error:.0%}" if error else ""


def popularity(ranked: Ranked) -> dict[str, Any]:
    """How requests fall on keys."""
    counts, weights, ranks = ranked.counts, ranked.weights, ranked.ranks()
    total, unique = ranked.requests, ranked.unique
    first = max(1, int(unique) // 100)
    head = ranks <= first + 0.5
    repeated = float(weights[counts >= 2].sum())
    fitted = int(min(10_000, repeated))
    slope = None
    if fitted >= 10:
        used = ranks <= fitted
        slope_of_logs = np.polyfit(np.log(ranks[used]), np.log(counts[used]), 1, w=np.sqrt(weights[used]))[0]
        slope = rounded(-slope_of_logs, 4) if math.isfinite(slope_of_logs) else None
    return {
        "unique_keys": round(unique),
        "top1_share": rounded(counts[0] / total, 4),
        "top1pct_share": rounded(float(counts[head] @ weights[head]) / total, 4),
        "one_hit_keys_frac": rounded(float(weights[counts == 1].sum()) / unique, 4),
        "zipf_ols": slope,
        "zipf_ranks": fitted,
        "mean_freq": rounded(total / unique),
    }


def _zipf(ranked: Ranked) -> dict[str, Any] | None:
    found = zipf.fit(ranked.counts, ranked.weights)
    if found is None:
        return None
    return {
        "exponent": rounded(found.exponent, 4),
        "ks": rounded(found.ks, 3),
        "keys": round(ranked.unique),
        "fit": "maximum likelihood over ranks",
    }


def cache_sizes(unique: float, step: float = _CACHE_STEP) -> list[int]:
    """1, 4, 16, ... and all of them."""
    count = 1 + max(0, math.ceil(math.log(max(1.0, unique), step)))
    sizes = {round(step**i) for i in range(count) if round(step**i) < unique}
    return [*sorted(sizes), max(1, round(unique))]


def _reuse(keys: Objects, ranked: Ranked) -> dict[str, Any]:
    said: dict[str, Any] = {"first_requests_frac": rounded(keys.reuse.first_share(), 4)}
    said |= {f"{name}_keys": value for name, value in _levels(keys.reuse.distances()).items()}
    said |= {f"{name}_s": value for name, value in _levels(keys.reuse.times(), 1e-9).items()}
    said["lru_hit_ratio"] = [{"cache_keys": size, "ratio": rounded(keys.reuse.hit_ratio(size), 4)} for size in cache_sizes(ranked.unique)]
    return said


def _levels(bins: Bins | None, factor: float = 1.0) -> Mapping[str, float | int]:
    if bins is None:
        return {}
    return {f"p{level}": rounded(bins.quantile(level / 100) * factor, 4) for level in (50, 90, 99)}


def _working_set(portrait: Portrait) -> dict[str, Any] | None:
    found = portrait.working_set.working_set()
    return None if found is None else {"stretch_s": rounded(found.stretch_ns / 1e9), "keys": [round(keys) for keys in found.keys]}


def _prefixes(portrait: Portrait) -> dict[str, Any]:
    """How much of the prompts' prefixes was there before, as caches of blocks see it."""
    blocks = portrait.blocks
    unique = blocks.counts.ranked().unique
    said: dict[str, Any] = {"requests": portrait.blocks_of_request.count, "block_refs": blocks.count, "unique_blocks": round(unique)}
    if blocks.count:
        said["infinite_cache_block_hit_ratio"] = rounded(1 - unique / blocks.count)
        said["lru_hit_ratio"] = [{"cache_blocks": size, "ratio": rounded(blocks.reuse.hit_ratio(size), 4)} for size in cache_sizes(unique)]
    return said | {"hash_ids_per_req": spread_of(portrait.blocks_of_request)[0]}


def _sessions(sessions: Objects) -> dict[str, Any]:
    """Turns of a session, and the time from one turn's arrival to the next one's: the answer's time is in it."""
    ranked = sessions.counts.ranked()
    upto = np.cumsum(ranked.weights[::-1])
    turns = {f"p{level}": int(ranked.counts[::-1][np.searchsorted(upto, level / 100 * upto[-1])]) for level in (50, 90, 99)}
    said: dict[str, Any] = {"sessions": round(ranked.unique), "requests": sessions.count}
    said["turns"] = {"mean": rounded(ranked.requests / ranked.unique), **turns, "max": int(ranked.counts[0])}
    return said | {"between_turns_s": dict(_levels(sessions.reuse.times(), 1e-9))}


def _sampled_keys(name: str, counts: KeyCounts, ranked: Ranked) -> dict[str, str]:
    if ranked.exact:
        return {}
    return {
        name: f"a sample of {len(ranked.counts):,} keys, shares within about {1 / math.sqrt(MOST_KEYS / 2):.1%}; "
        f"counts of the most popular keys are short by at most {counts.missed:,}"
    }


def _sampled_reuse(name: str, objects: Objects) -> dict[str, str]:
    reuse = objects.reuse
    if reuse.share == 1:
        return {}
    beyond = f"SHARDS over {reuse.share:.2%} of all, hit ratios within about 0.01"
    return {f"{name}, distances": f"exact below {reuse.exact_below:,}; beyond, {beyond}"}
