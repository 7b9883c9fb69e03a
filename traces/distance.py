"""How far apart two traces are, dimension by dimension: how far off its spec a workload really is, and along what.

Each dimension has a law (see `traces.laws` for the measures) that leaves the others out as far as that goes: gaps and burstiness are
taken over their mean, so a speedup changes the rate alone; popularity goes by rank, so other names for the keys change nothing. Laws come
out of portraits, so two traces of any length are compared in constant memory, and values are known within 1 %.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from traces.laws import Floats, Law, Measures, Shares, apart, apart_in_words, floor, floor_in_words, law_of, shares_of
from traces.portrait import Portrait, portrait_of
from traces.portrait.bins import Binned, Bins, Ints
from traces.portrait.keys import KeyCounts
from traces.portrait.windows import LENGTHS_NS
from traces.stream import Trace

_FEWEST_WINDOWS = 16
_ENOUGH_IN_A_WINDOW = 10
_FOLD = 4
"""A window that is compared holds at least so many of the series: its ends may fall within one."""

Pair = tuple[Law, Law] | tuple[Shares, Shares]
Half = Law | Shares | None


@dataclass(frozen=True)
class Distance:
    """How far apart two traces are in one dimension. `floor` is what two samples of one law reach by chance; `a` and `b` their figures."""

    dimension: str
    what: str
    unit: str
    apart: Measures
    floor: Measures
    a: Mapping[str, float]
    b: Mapping[str, float]

    @property
    def beyond_noise(self) -> bool:
        return self.apart.wasserstein > self.floor.wasserstein

    @property
    def figures(self) -> str:
        """What differs, in its own unit: of words the one that moved most."""
        if self.apart.ks is None:
            moved = max(self.a.keys() | self.b.keys(), key=lambda word: (abs(self.a.get(word, 0) - self.b.get(word, 0)), word))
            return f"{moved} {self.a.get(moved, 0):.1%} against {self.b.get(moved, 0):.1%}"
        told = ", ".join(f"{name} {_number(self.a[name])} against {_number(self.b[name])}" for name in self.a)
        return f"{told} {self.unit}".rstrip()

    @property
    def words(self) -> str:
        """One line for a person."""
        far, chance = f"{self.apart.wasserstein:.3f}", f"by chance up to {self.floor.wasserstein:.3f}"
        if not self.beyond_noise:
            return f"{self.what}: not told apart ({far}, {chance})"
        return f"{self.what}: {far} apart ({chance}); {self.figures}"

    def to_json(self) -> dict[str, Any]:
        said = {name: getattr(self, name) for name in ("dimension", "what", "unit", "beyond_noise", "words")}
        return {**said, "distance": dataclasses.asdict(self.apart), "floor": dataclasses.asdict(self.floor), "a": self.a, "b": self.b}


@dataclass(frozen=True)
class Comparison:
    """All dimensions that both traces have, the farthest apart first; and those that only one has."""

    distances: tuple[Distance, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    def in_dimension(self, name: str) -> Distance | None:
        return next((each for each in self.distances if each.dimension == name), None)

    @property
    def words(self) -> str:
        """The whole in one line."""
        off = [each.dimension for each in self.distances if each.beyond_noise]
        only = [f"only one has {name}" for name in (*self.only_a, *self.only_b)]
        if not off and not only:
            return "nothing beyond chance: these may be two samples of one workload"
        told = [f"off along {', '.join(off)}"] if off else []
        return "; ".join([*told, *only])


BENT: Mapping[str, tuple[str, ...]] = {
    "rate": ("rate",),
    "rate over time": ("rate", "burstiness"),
    "phase": ("rate", "burstiness"),
    "length": ("rate",),
    "gaps": ("gaps", "burstiness"),
    "ops": ("ops",),
    "order": ("reuse", "prefixes"),
    "popularity": ("popularity",),
    "popularity over time": ("reuse", "popularity"),
    "keys over time": ("reuse", "popularity"),
    "key space": ("popularity", "reuse"),
    "key space over time": ("popularity", "reuse"),
    "sizes": ("req_bytes", "resp_bytes"),
    "tokens": ("prompt_tokens", "output_tokens"),
    "what is mixed in": (),
}
"""What a transform says that it changes -> the dimensions in which that shows; none: in any."""


def along(found: Comparison, changes: str) -> Distance:
    """The distance along what a transform changes: the farthest of the dimensions in which that shows, of all where that is not known."""
    shown = [each for name in BENT.get(changes.split(" (")[0], ()) if (each := found.in_dimension(name)) is not None]
    return max(shown or found.distances, key=lambda each: each.apart.wasserstein)


def compare_traces(a: Trace, b: Trace, *, same_keys: bool | None = None) -> Comparison:
    """Reads each once. Raises InvalidInput as `portrait_of` does."""
    return compare(portrait_of(a), portrait_of(b), same_keys=same_keys)


def compare(a: Portrait, b: Portrait, *, same_keys: bool | None = None) -> Comparison:
    """Pure: 0 in every dimension for a portrait with itself, and the same either way round.

    `same_keys` says that both ask for the same keys (one was made of the other), so that which keys there are is no chance. By default
    that is taken from the metadata: they come from the same file.
    """
    if same_keys is None:
        same_keys = a is b or bool(a.meta.source_sha256 and a.meta.source_sha256 == b.meta.source_sha256)
    found, only_a, only_b = [], [], []
    for name, (what, unit, laws) in DIMENSIONS.items():
        one, other = laws(a, b)
        if one is not None and other is not None:
            found.append(_distance(name, what, unit, one, other, same_keys))
        elif one is not None:
            only_a.append(name)
        elif other is not None:
            only_b.append(name)
    order = sorted(found, key=lambda each: (not each.beyond_noise, -each.apart.wasserstein))
    return Comparison(tuple(order), tuple(only_a), tuple(only_b))


def _distance(name: str, what: str, unit: str, one: Law | Shares, other: Law | Shares, same_keys: bool) -> Distance:
    if isinstance(one, Shares) and isinstance(other, Shares):
        return Distance(name, what, unit, apart_in_words(one, other), floor_in_words(one, other), _told_words(one), _told_words(other))
    assert isinstance(one, Law) and isinstance(other, Law)
    return Distance(name, what, unit, apart(one, other), floor(one, other, same_keys), _told(one), _told(other))


def _told(law: Law) -> dict[str, float]:
    return {"mean": law.mean(), "p50": law.quantile(0.5), "p99": law.quantile(0.99)}


def _told_words(shares: Shares) -> dict[str, float]:
    return dict(zip(shares.words, (shares.weights / shares.weights.sum()).tolist(), strict=True))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _of_bins(bins: Bins | None, factor: float = 1.0) -> Law | None:
    return None if bins is None else law_of(bins.low * factor, bins.high * factor, bins.weights, bins.by_group)


def _each(make: Callable[[Portrait], Half], a: Portrait, b: Portrait) -> tuple[Half, Half]:
    return make(a), make(b)


def _gaps(portrait: Portrait) -> Law | None:
    gaps = portrait.gaps
    return _of_bins(gaps.bins(), 1 / gaps.mean_ns) if gaps.mean_ns > 0 else None


def _column(name: str, portrait: Portrait) -> Law | None:
    column = portrait.columns.get(name)
    return _of_bins(column.bins()) if column is not None else None


def _seconds(name: str, portrait: Portrait) -> Law | None:
    column = portrait.columns.get(name)
    return _of_bins(column.bins(), 1e-9) if column is not None else None


def _ops(portrait: Portrait) -> Shares:
    by_stretch = portrait.ops.by_stretch()
    return shares_of(tuple(by_stretch), np.column_stack(list(by_stretch.values())))


def _ranks(counts: KeyCounts) -> Law | None:
    """The rank of the key that a request asks for, 1 the most popular."""
    ranked = counts.ranked()
    if not len(ranked.counts):
        return None
    groups, held = np.unique(np.column_stack((ranked.counts, ranked.weights)), axis=0, return_counts=True)
    return _ranks_of(groups[:, 0].astype(np.int64), groups[:, 1].astype(np.float64), held.astype(np.int64))


def _ranks_of(counts: Ints, weights: Floats, held: Ints, whole: bool = True) -> Law:
    """`held[g]` keys that came `counts[g]` times, each standing for `weights[g]`.

    Halved by tossing a coin for each request: that tells the chance of draws, not how popularity moves over time.
    """
    used = (held > 0) & (counts > 0)
    order = np.argsort(-counts[used], kind="stable")
    number, each = (held * weights)[used][order], counts[used][order]
    upto = np.cumsum(number)
    low = upto - number + 1
    law = Law(low, np.maximum(low, upto), number * each)
    if not whole:
        return law

    def halve(rng: np.random.Generator) -> tuple[Law, Law]:
        sides: tuple[list[Ints], list[Ints]] = ([], [])
        often, repeated = [], []
        for count, keys in zip(counts.tolist(), held.tolist(), strict=True):
            drawn, times = np.unique(rng.binomial(count, 0.5, keys), return_counts=True)
            sides[0].append(drawn)
            sides[1].append(count - drawn)
            often.append(times)
            repeated.append(len(drawn))
        weight, times = np.repeat(weights, repeated), np.concatenate(often)
        one, other = (_ranks_of(np.concatenate(side), weight, times, whole=False) for side in sides)
        return one, other

    return dataclasses.replace(law, halve=halve)


def _rate(a: Portrait, b: Portrait) -> tuple[Half, Half]:
    """In windows of one length for both: the shortest in which both have enough requests."""
    least = _FOLD * max(a.series.window_ns, b.series.window_ns)
    lengths = [length for length in LENGTHS_NS if length >= least and min(a.span_ns, b.span_ns) >= _FEWEST_WINDOWS * length]
    if not lengths:
        return _mean_rate(a), _mean_rate(b)
    sparse = max(each.gaps.mean_ns for each in (a, b))
    length = next((length for length in lengths if length >= _ENOUGH_IN_A_WINDOW * sparse), lengths[-1])
    return _counts(a, length, 1e9 / length), _counts(b, length, 1e9 / length)


def _mean_rate(portrait: Portrait) -> Law | None:
    """All that can be said of the rate of a trace that is too short for windows."""
    rate = np.array([1e9 / portrait.gaps.mean_ns]) if portrait.gaps.mean_ns > 0 else None
    return None if rate is None else Law(rate, rate, np.ones(1))


def _burstiness(a: Portrait, b: Portrait) -> tuple[Half, Half]:
    """In windows of as many mean gaps for both."""
    if min(a.gaps.mean_ns, b.gaps.mean_ns) <= 0:
        return None, None
    gaps = max(_ENOUGH_IN_A_WINDOW, *(_FOLD * each.series.window_ns / each.gaps.mean_ns for each in (a, b)))
    if min(each.span_ns / each.gaps.mean_ns for each in (a, b)) < gaps * _FEWEST_WINDOWS:
        return None, None
    return tuple(_counts(each, gaps * each.gaps.mean_ns, 1 / gaps) for each in (a, b))  # type: ignore[return-value]


def _counts(portrait: Portrait, length_ns: float, factor: float) -> Law | None:
    counts = portrait.series.series().in_windows(length_ns)
    binned = Binned()
    binned.add(counts, np.arange(len(counts)))
    return _of_bins(binned.bins(), factor)


_Laws = Callable[[Portrait, Portrait], tuple[Half, Half]]

DIMENSIONS: Mapping[str, tuple[str, str, _Laws]] = {
    "rate": ("requests per second", "/s", _rate),
    "gaps": ("gaps", "x the mean", partial(_each, _gaps)),
    "burstiness": ("requests in a window", "x the mean", _burstiness),
    "ops": ("op mix", "", partial(_each, _ops)),
    "popularity": ("rank of the key asked for", "", partial(_each, lambda portrait: _ranks(portrait.keys.counts))),
    "reuse": ("other keys before a key comes again", "keys", partial(_each, lambda portrait: _of_bins(portrait.keys.reuse.distances()))),
    "req_bytes": ("bytes sent", "B", partial(_each, partial(_column, "req_bytes"))),
    "resp_bytes": ("bytes answered", "B", partial(_each, partial(_column, "resp_bytes"))),
    "prompt_tokens": ("tokens of the prompt", "tokens", partial(_each, partial(_column, "prompt_tokens"))),
    "output_tokens": ("tokens of the answer", "tokens", partial(_each, partial(_column, "output_tokens"))),
    "prefixes": (
        "other blocks before a prefix block comes again", "blocks",
        partial(_each, lambda portrait: _of_bins(portrait.blocks.reuse.distances())),
    ),
    "service": ("time of service", "s", partial(_each, partial(_seconds, "service_ns"))),
    "turns": ("turns of a session, by rank", "", partial(_each, lambda portrait: _ranks(portrait.sessions.counts))),
    "think": ("time between turns of a session", "s", partial(_each, lambda portrait: _of_bins(portrait.sessions.reuse.times(), 1e-9))),
}  # fmt: skip
"""Name -> what it is, its unit, and the laws of two portraits."""
