"""A portrait as curves: what a figure of one number leaves out. Each is a list of at most a few hundred (x, y), times in seconds."""

from collections.abc import Mapping, Sequence

import numpy as np

from traces import zipf
from traces.characterise import cache_sizes, lagged, series_with_requests
from traces.dependence import autocorrelation, dispersion
from traces.portrait import Portrait
from traces.portrait.bins import Bins
from traces.portrait.gather import Objects

Curve = list[tuple[float, float]]
_POINTS = 240
_FEWEST_WINDOWS = 8
LAGS = 60


def curves(portrait: Portrait) -> dict[str, Curve]:
    """Those that the trace has something for.

    rate: requests per second over time. gaps: share of gaps longer than so long. dispersion: variance over mean of counts by length of
    window. autocorrelation: of counts, by lag. popularity and zipf: requests for a key by its rank, and the fitted law. hit_ratio: of an
    LRU cache by its keys; prefix_hit_ratio: by its blocks. working_set: different keys in each stretch of time. A column's name: share of
    values up to so much. between_turns: likewise, seconds.
    """
    series = portrait.series.series()
    shown = series.folded(max(1, -(-len(series.counts) // _POINTS)))
    window_s = shown.window_ns / 1e9
    found: dict[str, Curve] = {"rate": [((i + 0.5) * window_s, float(n) / window_s) for i, n in enumerate(shown.counts.tolist())]}
    gaps = portrait.gaps.bins()
    if gaps is not None and portrait.gaps.mean_ns > 0:
        found["gaps"] = [(x, 1 - y) for x, y in cumulative(gaps, 1e-9) if x > 0]
    filled = series_with_requests(portrait)
    folds = (filled.folded(1 << i) for i in range(32) if len(filled.counts) >> i >= _FEWEST_WINDOWS)
    found["dispersion"] = [(each.window_ns / 1e9, value) for each in folds if (value := dispersion(each.counts))]
    apart = lagged(portrait)
    lags = autocorrelation(apart.counts, LAGS) if len(apart.counts) >= 2 * LAGS else None
    if lags is not None:
        found["autocorrelation"] = [((i + 1) * apart.window_ns / 1e9, value) for i, value in enumerate(lags.tolist())]
    if portrait.keys.count:
        found |= _of_keys(portrait)
    for name, column in portrait.columns.items():
        bins = column.bins()
        if bins is not None and name != "length":
            found[name] = cumulative(bins, 1e-9 if name == "service_ns" else 1.0)
    if portrait.blocks.count:
        found["prefix_hit_ratio"] = _hit_ratio(portrait.blocks)
    between = portrait.sessions.reuse.times()
    if between is not None:
        found["between_turns"] = cumulative(between, 1e-9)
    return {name: curve for name, curve in found.items() if curve}


def _of_keys(portrait: Portrait) -> dict[str, Curve]:
    ranked = portrait.keys.counts.ranked()
    ranks = ranked.ranks()
    at = np.unique(np.searchsorted(ranks, np.geomspace(1, max(1.0, float(ranks[-1])), _POINTS)).clip(0, len(ranks) - 1))
    found: dict[str, Curve] = {"popularity": list(zip(ranks[at].tolist(), ranked.counts[at].astype(float).tolist(), strict=True))}
    law = zipf.fit(ranked.counts, ranked.weights)
    if law is not None:
        found["zipf"] = [(rank, ranked.requests * zipf.share(rank, ranked.unique, law.exponent)) for rank, _ in found["popularity"]]
    found["hit_ratio"] = _hit_ratio(portrait.keys)
    working_set = portrait.working_set.working_set()
    if working_set is not None:
        stretch_s = working_set.stretch_ns / 1e9
        found["working_set"] = [((i + 0.5) * stretch_s, keys) for i, keys in enumerate(working_set.keys)]
    return found


def _hit_ratio(objects: Objects) -> Curve:
    return [(float(size), objects.reuse.hit_ratio(size)) for size in cache_sizes(objects.counts.ranked().unique, 1.25)]


def cumulative(bins: Bins, factor: float = 1.0) -> Curve:
    """Share of the values up to each."""
    whole = bins.total
    share = np.cumsum(whole) / whole.sum()
    before = np.concatenate(([0.0], share[:-1]))
    at = np.column_stack((bins.low, bins.high)).ravel() * factor
    points = np.column_stack((at, np.column_stack((before, share)).ravel()))
    kept = np.unique(np.linspace(0, len(points) - 1, min(len(points), 2 * _POINTS)).round().astype(int))
    return [(float(x), float(y)) for x, y in points[kept]]


def flattened(found: Mapping[str, Curve]) -> dict[str, Sequence[Sequence[float]]]:
    """For JSON: six digits are enough."""
    return {name: [[float(f"{x:.6g}"), float(f"{y:.6g}")] for x, y in curve] for name, curve in found.items()}
