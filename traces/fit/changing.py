"""Rates that change by the clock: the diurnal sine and the flash crowd, searched on counts in bins, judged by the likelihood of every
arrival.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from traces.fit.candidate import Candidate
from traces.fit.sample import Floats, significant
from traces.synthesis.arrivals.diurnal import Sine
from traces.synthesis.arrivals.flash import Crowd

_BINS = 2048
_HIGHEST = 3
"""Peaks of the periodogram that are tried."""


def changing(times: Floats, resolution_s: float) -> list[Candidate]:
    span = float(times[-1])
    bins = min(_BINS, len(times) // 20)
    if bins < 16 or span <= 0:
        return []
    counts, edges = np.histogram(times, bins, (0, span))
    below = int((np.diff(times) < resolution_s).sum()) * math.log(resolution_s)
    found = []
    sine = _sine(counts.astype(np.float64), edges)
    if sine is not None:
        swing = f"period={significant(sine.period_s, 7)}s,amplitude={significant(sine.amplitude)},phase={significant(sine.phase)}"
        spec = f"diurnal:{significant(sine.rate_per_s)},{swing}"
        found.append(Candidate("diurnal", spec, _likelihood(sine, times) + below, 4, len(times) - 1))
    crowd = _crowd(counts.astype(np.float64), edges)
    if crowd is not None:
        whole = [
            f"{name}={significant(value, 6)}s"
            for name, value in zip(("at", "rise", "hold", "decay"), (crowd.at_s, crowd.rise_s, crowd.hold_s, crowd.decay_s), strict=True)
        ]
        spec = ",".join([f"flash:{significant(crowd.rate_per_s)}", f"peak={significant(crowd.peak)}", *whole])
        found.append(Candidate("flash", spec, _likelihood(crowd, times) + below, 6, len(times) - 1))
    return found


def _likelihood(law: Sine | Crowd, times: Floats) -> float:
    """Of arrivals after the first up to the last."""
    rates = law.rate(times[1:])
    if not rates.min() > 0:
        return -math.inf
    ends = law.count(np.array([times[0], times[-1]]))
    return float(np.log(rates).sum()) - float(ends[1] - ends[0])


def _lowest(make: Callable[[Floats], Sine | Crowd], starts: list[Floats], counts: Floats, edges: Floats) -> Sine | Crowd | None:
    """The likeliest of counts in bins, from each start."""

    def cost(x: Floats) -> float:
        expected = np.maximum(np.diff(make(x).count(edges)), 1e-12)
        return float((expected - counts * np.log(expected)).sum())

    options = {"maxiter": 1500, "xatol": 1e-5, "fatol": 1e-3}
    found = [minimize(cost, start, method="Nelder-Mead", options=options) for start in starts]
    return make(min(found, key=lambda each: float(each.fun)).x) if found else None


def _sine(counts: Floats, edges: Floats) -> Sine | None:
    span, mean = float(edges[-1]), float(counts.mean())
    power = np.abs(np.fft.rfft(counts - mean))
    starts = []
    for wave in np.argsort(power[1 : len(counts) // 8])[::-1][:_HIGHEST] + 1:
        size = min(0.95, 2 * power[wave] / counts.sum())
        angle = math.atan2(*_parts(counts, edges, span / wave))
        starts.append(np.array([math.log(counts.sum() / span), math.log(span / wave), math.log(size / (1 - size)), angle / (2 * math.pi)]))

    def make(x: Floats) -> Sine:
        return Sine(math.exp(x[0]), math.exp(min(x[1], math.log(span))), 1 / (1 + math.exp(-x[2])), float(x[3] % 1.0))

    found = _lowest(make, starts, counts, edges)
    return found if isinstance(found, Sine) else None


def _parts(counts: Floats, edges: Floats, period: float) -> tuple[float, float]:
    """Cosine and sine parts of a period: the phase of a sine is the angle of (cosine, sine)."""
    middle = (edges[1:] + edges[:-1]) / 2 * 2 * math.pi / period
    return float((counts * np.cos(middle)).sum()), float((counts * np.sin(middle)).sum())


def _crowd(counts: Floats, edges: Floats) -> Crowd | None:
    span, width = float(edges[-1]), float(edges[1])
    smooth = np.convolve(counts, np.ones(9) / 9, mode="same")
    base, top = max(float(np.median(smooth)), 0.1), float(smooth.max())
    at_top = int(smooth.argmax())
    raised = smooth > (base + top) / 2
    first = at_top - int(np.argmin(raised[at_top::-1])) if not raised[: at_top + 1].all() else 0
    last = at_top + int(np.argmin(raised[at_top:])) if not raised[at_top:].all() else len(counts) - 1
    if top <= base * 1.05:
        return None
    half = max(last - first, 1) * width
    starts = [
        np.array([math.log(base / width), math.log(top / base - 1 + 1e-3), max(0.0, first * width - rise / 2), rise, hold, decay])
        for rise, hold, decay in ((half / 8, half * 0.8, half / 8), (half / 4, half / 2, half / 2), (width, width, half))
    ]

    def make(x: Floats) -> Crowd:
        times = [min(abs(float(value)), 10 * span) for value in x[2:]]
        return Crowd(math.exp(x[0]), 1 + math.exp(min(float(x[1]), 9.0)), *times)

    found = _lowest(make, starts, counts, edges)
    return found if isinstance(found, Crowd) else None
