"""What survives: ratios of a violated condition to nominal, with intervals. 1: nothing lost; 0: it no longer functions.

Ratios are made within a block, so that drift cancels, and averaged on the log scale. With two or more blocks the interval is a
Student t on the blocks' log ratios (few units: a percentile bootstrap would be too narrow). With one block there is nothing above
the seconds that varies, and the interval is a bootstrap over seconds, marked so: it says nothing about another run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.analysis.student import critical
from controller.campaign import NOMINAL

MORE_IS_BETTER = ("goodput", "throughput", "efficiency")
METRICS = ("response_p50", "response_p99", "goodput", "throughput", "efficiency")
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    variant: str
    condition: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    trials: int
    unit: str

    def to_json(self) -> dict[str, Any]:
        def shown(x: float | None) -> float | None:
            return None if x is None else round(x, 6)

        return {
            "variant": self.variant,
            "condition": self.condition,
            "metric": self.metric,
            "value": shown(self.value),
            "low": shown(self.low),
            "high": shown(self.high),
            "trials": self.trials,
            "unit": self.unit,
        }


def figure(entry: Entry, metric: str) -> float | None:
    """A trial's figure; larger is better for all but the response times. 0 for a system that fails."""
    match metric:
        case "response_p50" | "response_p99":
            value = entry["response_us"][metric.removeprefix("response_")]
            return None if value is None else float(value)
        case "throughput":
            return entry["completed"] / entry["scheduled"] if entry["scheduled"] else None
        case "goodput":
            if entry["goodput_per_s"] is None or not entry["rate_due_per_s"]:
                return None
            return float(entry["goodput_per_s"] / entry["rate_due_per_s"])
        case "efficiency":
            value = entry["requests_per_cpu_s"]
            return None if value is None else float(value)
        case _:
            raise ValueError(metric)


def usable(entries: Sequence[Entry]) -> list[Entry]:
    """The first attempt of each trial that may be believed."""
    first: dict[str, Entry] = {}
    for entry in entries:
        if entry["verdict"] != "invalid":
            first.setdefault(entry["id"], entry)
    return list(first.values())


def retentions(entries: Sequence[Entry], seconds: Callable[[Entry, str], Sequence[float]] | None = None, looks: int = 1) -> list[Score]:
    """Scores of every variant, condition and metric for which there is nominal to compare with.

    `seconds` gives an entry's figure for each of its seconds, for the interval of a single block. Where a run may end at the best of
    several `looks`, intervals over blocks are widened so that they cover at whichever it ended.
    """
    believed = usable(entries)
    found = []
    cells = dict.fromkeys((e["variant"], e["condition"]) for e in believed if e["condition"] != NOMINAL)
    for variant, condition in cells:
        nominal = {e["block"]: e for e in believed if e["variant"] == variant and e["condition"] == NOMINAL}
        violated = {e["block"]: e for e in believed if e["variant"] == variant and e["condition"] == condition}
        pairs = [(nominal[b], violated[b]) for b in sorted(nominal) if b in violated]
        for metric in METRICS:
            found.append(_score(variant, condition, metric, pairs, seconds, looks))
    return [score for score in found if score.trials]


def _score(
    variant: str,
    condition: str,
    metric: str,
    pairs: Sequence[tuple[Entry, Entry]],
    seconds: Callable[[Entry, str], Sequence[float]] | None,
    looks: int,
) -> Score:
    ratios = [r for nominal, violated in pairs if (r := ratio(nominal, violated, metric)) is not None]
    n = len(ratios)
    if not n:
        return Score(variant, condition, metric, None, None, None, 0, "block")
    if min(ratios) <= 0:
        # Some blocks kept nothing: logs do not exist, and the plain mean is what is left to say.
        return Score(variant, condition, metric, float(np.mean(ratios)), 0.0, max(ratios), n, "block")
    value, low, high = log_interval(ratios, looks)
    if n == 1 and seconds is not None:
        nominal, violated = pairs[0]
        low, high = _over_seconds(seconds(nominal, metric), seconds(violated, metric), metric, value)
        return Score(variant, condition, metric, value, low, high, 1, "seconds")
    return Score(variant, condition, metric, value, low, high, n, "block")


def ratio(nominal: Entry, violated: Entry, metric: str) -> float | None:
    """Retention of one pair; 0 where the system failed. None where there is no figure."""
    if violated["outcome"] == "fails":
        return 0.0
    x0, x1 = figure(nominal, metric), figure(violated, metric)
    if x0 is None or x1 is None or x0 <= 0:
        return None
    if metric in MORE_IS_BETTER:
        return x1 / x0
    return x0 / x1 if x1 > 0 else None


def log_interval(ratios: Sequence[float], looks: int = 1) -> tuple[float, float | None, float | None]:
    """Geometric mean and its 95 % interval (over all `looks` at once), Student t on the logs; no interval for one."""
    logs = np.log(ratios)
    mean = float(logs.mean())
    n = len(ratios)
    if n < 2:
        return math.exp(mean), None, None
    half = critical(1 - 0.05 / looks, n - 1) * float(logs.std(ddof=1)) / math.sqrt(n)
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def _over_seconds(nominal: Sequence[float], violated: Sequence[float], metric: str, value: float) -> tuple[float | None, float | None]:
    if len(nominal) < 3 or len(violated) < 3:
        return None, None
    rng = np.random.Generator(np.random.PCG64(1))
    draws = [np.median(rng.choice(violated, len(violated))) / max(1e-12, np.median(rng.choice(nominal, len(nominal)))) for _ in range(1000)]
    spread = np.log(np.maximum(draws, 1e-12))
    spread -= np.median(spread)
    if metric not in MORE_IS_BETTER:
        spread = -spread
    low, high = np.percentile(spread, [2.5, 97.5])
    return value * math.exp(float(low)), value * math.exp(float(high))


def noise_floor(entries: Sequence[Entry], variant: str, metric: str) -> float | None:
    """How far nominal trials lie apart by themselves: the largest ratio between two of them, minus 1."""
    values = [
        v
        for e in usable(entries)
        if e["variant"] == variant and e["condition"] == NOMINAL and (v := figure(e, metric)) is not None and v > 0
    ]
    return max(values) / min(values) - 1 if len(values) > 1 else None


def portability(scores: Sequence[Score], variant: str, metric: str) -> float | None:
    """Harmonic mean of retentions over conditions, 0 if one is 0 (Pennycook, Sewall, Lee 2019)."""
    values = [s.value for s in scores if s.variant == variant and s.metric == metric and s.value is not None]
    if not values:
        return None
    return 0.0 if min(values) <= 0 else len(values) / sum(1 / v for v in values)
