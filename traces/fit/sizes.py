"""Which law sizes follow: the nearest of constant, uniform, lognormal, Pareto and generalised Pareto, or quantiles where none is near."""

import math
from abc import ABC, abstractmethod

import numpy as np
from scipy import special
from scipy.optimize import minimize

from traces.fit.sample import Floats, Ints, significant
from traces.synthesis.sizes.quantiles import shares_of

NEAR = 0.03
"""A law whose distribution function is off by more than this (Kolmogorov and Smirnov), and more than chance, is not near."""
_LEVELS = 41


def size_law(values: Ints) -> tuple[str, float]:
    """As it is written in a spec, and how far off its distribution function is at the most. `values`: whole, at least 0, at least one."""
    low, high = int(values.min()), int(values.max())
    if low == high:
        return str(low), 0.0
    at, counts = np.unique(values, return_counts=True)
    upto = np.cumsum(counts) / len(values)
    tried = [(_off(law, at, upto), law.written) for law in _laws(values.astype(np.float64))]
    off, written = min(tried)
    if off <= max(NEAR, 1.36 / math.sqrt(len(values))):
        return written, off
    shares = shares_of(_LEVELS)
    levels = np.quantile(values, shares, method="inverted_cdf")
    between = np.interp(np.log1p(at + 0.5), np.log1p(levels) + np.arange(_LEVELS) * 1e-12, shares)
    return "quantiles:" + ":".join(f"{level:.0f}" for level in levels), float(np.abs(between - upto).max())


class _Law(ABC):
    def __init__(self, written: str) -> None:
        self.written = written

    @abstractmethod
    def upto(self, x: Floats) -> Floats:
        """The share of sizes at or below each."""


class _Uniform(_Law):
    def __init__(self, low: float, high: float) -> None:
        super().__init__(f"uniform:{low:.0f}:{high:.0f}")
        self.low, self.high = low, high

    def upto(self, x: Floats) -> Floats:
        return np.clip((x - self.low + 0.5) / (self.high - self.low + 1), 0, 1)


class _Lognormal(_Law):
    def __init__(self, logs: Floats) -> None:
        self.mu, self.sigma = float(logs.mean()), float(logs.std())
        super().__init__(f"lognormal:{max(1, round(math.exp(min(self.mu + self.sigma**2 / 2, 40))))}:{significant(min(self.sigma, 10), 4)}")

    def upto(self, x: Floats) -> Floats:
        upto: Floats = special.ndtr((np.log(np.maximum(x, 1e-9)) - self.mu) / self.sigma)
        return upto


class _Pareto(_Law):
    def __init__(self, logs: Floats, high: float) -> None:
        self.least, self.high = math.exp(float(logs.min())), high
        self.shape = 1 / max(1e-3, float((logs - logs.min()).mean()))
        super().__init__(f"pareto:{self.least:.0f}:{significant(min(self.shape, 1000), 4)}:{high:.0f}")

    def upto(self, x: Floats) -> Floats:
        return np.where(x >= self.high, 1.0, 1 - (np.maximum(x, self.least) / self.least) ** -self.shape)


class _GPareto(_Law):
    def __init__(self, values: Floats) -> None:
        self.location = float(values.min())
        over = values - self.location + 0.5

        def cost(x: Floats) -> float:
            scale, shape = math.exp(x[0]), min(max(float(x[1]), 1e-3), 5.0)
            return len(over) * math.log(scale) + (1 + 1 / shape) * float(np.log1p(shape / scale * over).sum())

        found = minimize(cost, np.array([math.log(over.mean()), 0.1]), method="Nelder-Mead", options={"maxiter": 120}).x
        self.scale, self.shape = math.exp(found[0]), min(max(float(found[1]), 1e-3), 5.0)
        super().__init__(f"gpareto:{significant(self.scale)}:{significant(self.shape)}:{self.location:.0f}")

    def upto(self, x: Floats) -> Floats:
        return -np.expm1(-np.log1p(self.shape / self.scale * np.maximum(x - self.location, 0)) / self.shape)


def _laws(values: Floats) -> list[_Law]:
    logs = np.log(np.maximum(values, 0.5))
    laws: list[_Law] = [_Uniform(float(values.min()), float(values.max())), _Lognormal(logs), _GPareto(values[:100_000])]
    if values.min() >= 1:
        laws.append(_Pareto(logs, float(values.max())))
    return laws


def _off(law: _Law, at: Ints, upto: Floats) -> float:
    """At the values that occur, rounded as sizes are."""
    return float(np.abs(law.upto(at.astype(np.float64) + 0.5) - upto).max())
