"""Zipf's law fitted to how requests fall on keys.

By maximum likelihood over ranks: p(r) ~ r^-s for r = 1 to the number of keys seen. Ranks are those of the counts themselves, which has a
price where keys come only a few times each: uniform popularity looks a little skewed. How well the law fits is Kolmogorov and Smirnov's
distance between the share of requests to the first r keys and the law's (Clauset, Shalizi and Newman 2009, on ranks); there is no p-value,
because with millions of requests no trace is Zipf.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

Floats = npt.NDArray[np.float64]

_SUMMED = 10_000
_STEEPEST = 10.0
_POINTS = 512


@dataclass(frozen=True)
class Fit:
    exponent: float
    ks: float


def fit(counts: npt.NDArray[np.integer], weights: Floats) -> Fit | None:
    """`counts` from the largest on, each of `weights` keys. None for fewer than two keys."""
    keys = float(weights.sum())
    if keys < 2:
        return None
    upto = np.cumsum(weights)
    requests = counts * weights
    share = np.cumsum(requests) / requests.sum()
    # Sum of ln r over the ranks that one count stands for, over their number.
    logs = (gammaln(upto + 1) - gammaln(upto - weights + 1)) / weights
    mean_log = float(requests @ logs) / float(requests.sum())

    def misfit(exponent: float) -> float:
        return exponent * mean_log + float(np.log(_harmonic(np.array([keys]), exponent)[0]))

    exponent = float(minimize_scalar(misfit, bounds=(0, _STEEPEST), method="bounded", options={"xatol": 1e-6}).x)
    ranks = np.unique(np.round(np.geomspace(1, keys, _POINTS)))
    held = np.interp(ranks, np.concatenate(([0.0], upto)), np.concatenate(([0.0], share)))
    law = _harmonic(ranks, exponent) / _harmonic(np.array([keys]), exponent)[0]
    return Fit(exponent, float(np.abs(held - law).max()))


def share(rank: float, keys: float, exponent: float) -> float:
    """The share of requests that the law gives to the key of a rank."""
    return float(rank**-exponent / _harmonic(np.array([keys]), exponent)[0])


def _harmonic(ranks: Floats, exponent: float) -> Floats:
    """Sum of r^-exponent for r from 1 to each rank: summed up to 10,000, by Euler and Maclaurin's formula beyond."""
    head = np.cumsum(np.arange(1, _SUMMED + 1, dtype=np.float64) ** -exponent)
    near = head[np.minimum(np.floor(ranks).astype(np.int64), _SUMMED) - 1]
    far = np.maximum(ranks, _SUMMED)
    if abs(exponent - 1) < 1e-9:
        area = np.log(far / _SUMMED)
    else:
        area = (far ** (1 - exponent) - _SUMMED ** (1 - exponent)) / (1 - exponent)
    found: Floats = near + area + (far**-exponent - float(_SUMMED) ** -exponent) / 2
    return found
