"""Which law keys are popular by, out of how many keys came how often: uniform, hotspot, zipf, Zipf-Mandelbrot.

Ranks of keys are not seen, so the likelihood is that of the counts of counts: under a law each key comes a Poisson number of times, and how
many keys come 1, 2, ... times is a sum over all keys, those that never came included. So the number of keys is learnt with the exponent.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import special
from scipy.optimize import minimize

from traces.fit.candidate import Candidate, best
from traces.fit.sample import Floats, Ints, significant

_EXACT_RANKS, _RANKS, _COUNTS = 60, 120, 26
_MOST_KEYS = 2.0**40
_Shares = Callable[[Floats], tuple[Floats, Floats]]
"""Figures -> how many keys there are of each sort, and the share of requests of one of them."""


def popularity(keys: Ints) -> list[Candidate]:
    """The candidates, the best first. `keys`: of each request."""
    counts = np.unique(keys, return_counts=True)[1]
    unique, requests = len(counts), len(keys)
    edges = np.unique(np.concatenate((np.arange(1, 9), np.geomspace(9, max(10, int(counts.max()) + 1), _COUNTS).round()))).astype(np.int64)
    edges[-1] = max(edges[-1], int(counts.max()) + 1)
    seen = np.histogram(counts, edges)[0].astype(np.float64)

    def fitted(law: str, shares: _Shares, starts: list[Floats], spec: Callable[[Floats], str]) -> Candidate:
        def cost(x: Floats) -> float:
            held, share = shares(x)
            reached = special.gammainc(edges[:, None].astype(np.float64), requests * share[None, :]) @ held
            expected = np.maximum(reached[:-1] - reached[1:], 1e-9)
            return float((expected - seen * np.log(expected)).sum())

        options = {"maxiter": 200 * len(starts[0]), "xatol": 1e-4, "fatol": 1e-2}
        found = min((minimize(cost, start, method="Nelder-Mead", options=options) for start in starts), key=lambda each: float(each.fun))
        return Candidate(law, spec(found.x), -float(found.fun), len(found.x), unique)

    log_keys = math.log(unique * 1.2)
    uniform = fitted("uniform", _uniform, [np.array([log_keys])], lambda x: f"keys={_keys(x[0])}")
    zipf = fitted(
        "zipf", lambda x: _zipf(x[0], x[1], 0.0), [np.array([log_keys, s]) for s in (0.6, 1.1)],
        lambda x: f"keys={_keys(x[0])},zipf={significant(min(abs(x[1]), 10), 4)}",
    )  # fmt: skip
    near = np.array([math.log(_keys_of(zipf.spec)), float(zipf.spec.split("zipf=")[1])])
    shifted = fitted(
        "zipf-mandelbrot", lambda x: _zipf(x[0], x[1], math.exp(min(x[2], 20))), [np.array([*near, math.log(q)]) for q in (0.5, 20)],
        lambda x: f"keys={_keys(x[0])},zipf={significant(min(abs(x[1]), 10), 4)},q={significant(math.exp(min(x[2], 20)), 4)}",
    )  # fmt: skip
    hotspot = fitted(
        "hotspot", _hotspot, [np.array([log_keys, *start]) for start in ((-1.4, 1.4), (-3.0, 0.0))],
        lambda x: f"keys={_keys(x[0])},hotspot={significant(_logistic(x[1]), 4)}:{significant(_logistic(x[2]), 4)}",
    )  # fmt: skip
    return best([uniform, zipf, shifted, hotspot])


def _keys(log: float) -> int:
    return max(1, round(min(math.exp(min(log, 30)), _MOST_KEYS)))


def _keys_of(spec: str) -> int:
    return int(spec.split(",")[0].removeprefix("keys="))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, x))))


def _uniform(x: Floats) -> tuple[Floats, Floats]:
    keys = float(_keys(x[0]))
    return np.array([keys]), np.array([1 / keys])


def _hotspot(x: Floats) -> tuple[Floats, Floats]:
    keys, hot, requests = math.exp(min(x[0], 27.0)), _logistic(x[1]), _logistic(x[2])
    return np.array([keys * hot, keys * (1 - hot)]), np.array([requests / (keys * hot), (1 - requests) / (keys * (1 - hot))])


def _zipf(log_keys: float, exponent: float, q: float) -> tuple[Floats, Floats]:
    """The first ranks by themselves, the others in groups that grow."""
    keys = min(math.exp(min(log_keys, 30.0)), _MOST_KEYS)
    first = np.arange(1, min(_EXACT_RANKS, max(1, round(keys))) + 1, dtype=np.float64)
    rank, held = first, np.ones(len(first))
    if keys > _EXACT_RANKS + 1:
        edges = np.geomspace(_EXACT_RANKS + 0.5, keys + 0.5, _RANKS)
        rank, held = np.concatenate((first, np.sqrt(edges[1:] * edges[:-1]))), np.concatenate((held, np.diff(edges)))
    weight = (q + rank) ** -min(abs(exponent), 10.0)
    return held, weight / float((held * weight).sum())
