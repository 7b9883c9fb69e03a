"""A Poisson process between two rates (MMPP) by its exact likelihood (Fischer and Meier-Hellstern, Performance Evaluation 18, 1993): the
product over all gaps of 2 x 2 matrices, taken as a tree. The search is over a part of a long trace, the likelihood over all of it.
"""

import math

import numpy as np
from scipy.optimize import minimize

from traces.fit.candidate import Candidate
from traces.fit.sample import Floats, significant

_SEARCHED, _POLISHED = 20_000, 100_000
_LOT = 1 << 18
_WINDOWS = (10, 100)
"""Mean gaps in a window whose counts give the search its start."""


def modulated(times: Floats, resolution_s: float) -> list[Candidate]:
    """Empty where the counts show no two states."""
    all_gaps = np.diff(times)
    below = int((all_gaps < resolution_s).sum())
    gaps = np.maximum(all_gaps, resolution_s / 2)
    part = gaps[:_SEARCHED]
    starts = [_start(np.cumsum(part), float(part.mean()) * window) for window in _WINDOWS]
    tries = [(log_likelihood(part, *start), start) for start in starts if start is not None]
    if not tries:
        return []
    figures = _climbed(part, max(tries, key=lambda each: each[0])[1], 200)
    if len(gaps) > _SEARCHED:  # the times of states need many of them to be known
        figures = _climbed(gaps[:_POLISHED], figures, 80)
    calm, burst, calm_s, burst_s = (float(figure) for figure in np.maximum(figures, 1e-9))
    if calm > burst:
        calm, burst, calm_s, burst_s = burst, calm, burst_s, calm_s
    if max(calm_s, burst_s) > 1e9 or min(calm_s, burst_s) < 1e-9 or burst > 1e12:
        return []
    likely = log_likelihood(gaps, calm, burst, calm_s, burst_s) + below * math.log(resolution_s)
    spec = f"mmpp:{significant(calm)},burst={significant(burst)},calm_for={_time(calm_s)},burst_for={_time(burst_s)}"
    return [Candidate("mmpp", spec, likely, 4, len(gaps))]


def _climbed(gaps: Floats, start: Floats, steps: int) -> Floats:
    """Rates and times of a higher likelihood."""
    options = {"maxiter": steps, "xatol": 1e-3, "fatol": 0.05}
    found = minimize(lambda x: -log_likelihood(gaps, *np.exp(x)), np.log(start), method="Nelder-Mead", options=options)
    figures: Floats = np.exp(found.x)
    return figures


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{round(seconds * 1e9)}ns"
    return f"{significant(seconds * 1e3)}ms" if seconds < 1 else f"{significant(seconds)}s"


def _start(times: Floats, window_s: float) -> Floats | None:
    """Rates and times of two states, out of counts in windows parted at their mean."""
    bins = min(200_000, max(2, int(times[-1] / window_s)))
    counts = np.histogram(times, bins, (0, times[-1]))[0]
    high = counts > counts.mean()
    if not high.any() or high.all():
        return None
    width = times[-1] / bins
    changes = max(1, int(np.count_nonzero(high[1:] != high[:-1])) / 2)
    rates = [max(counts[~high].mean(), 0.05) / width, counts[high].mean() / width]
    return np.array([*rates, (~high).sum() * width / changes, high.sum() * width / changes])


def log_likelihood(gaps: Floats, calm: float, burst: float, calm_s: float, burst_s: float) -> float:
    """Of the gaps, the state unknown at first. Rates per second, times in seconds."""
    total, row = 0.0, np.array([calm_s, burst_s]) / (calm_s + burst_s)
    for begin in range(0, len(gaps), _LOT):
        product, log = _product(_steps(gaps[begin : begin + _LOT], calm, burst, 1 / calm_s, 1 / burst_s))
        row = row @ product
        size = float(row.sum())
        if not size > 0:
            return -math.inf
        row, total = row / size, total + log + math.log(size)
    return total


def _steps(gaps: Floats, calm: float, burst: float, leave_calm: float, leave_burst: float) -> Floats:
    """exp((Q - L) g) L of each gap, n x 2 x 2, by the two eigenvalues of Q - L."""
    a, d = -(leave_calm + calm), -(leave_burst + burst)
    root = math.sqrt((a - d) ** 2 + 4 * leave_calm * leave_burst)
    fast, slow = (a + d - root) / 2, (a + d + root) / 2
    one, other = np.exp(slow * gaps) / root, np.exp(fast * gaps) / root
    both = one - other
    steps = np.empty((len(gaps), 2, 2))
    steps[:, 0, 0] = ((a - fast) * one - (a - slow) * other) * calm
    steps[:, 0, 1] = leave_calm * both * burst
    steps[:, 1, 0] = leave_burst * both * calm
    steps[:, 1, 1] = ((d - fast) * one - (d - slow) * other) * burst
    return steps


def _product(steps: Floats) -> tuple[Floats, float]:
    """Of all matrices in order, scaled, and the logarithm of the scale."""
    log = 0.0
    while len(steps) > 1:
        last = steps[-1:] if len(steps) % 2 else steps[:0]
        left, right = steps[: len(steps) - len(last) : 2], steps[1::2][: len(steps) // 2]
        steps = np.empty((len(left), 2, 2))
        for i in (0, 1):
            for j in (0, 1):
                steps[:, i, j] = left[:, i, 0] * right[:, 0, j] + left[:, i, 1] * right[:, 1, j]
        steps = np.concatenate((steps, last))
        scale = np.maximum(steps.max(axis=(1, 2)), 1e-300)
        steps = steps / scale[:, None, None]
        log += float(np.log(scale).sum())
    return steps[0], log
