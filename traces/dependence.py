"""How counts of requests depend on those before: autocorrelation, index of dispersion, Hurst's exponent. Pure functions of a series."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

Floats = npt.NDArray[np.float64]

_LOWPASS = np.array([1 + math.sqrt(3), 3 + math.sqrt(3), 3 - math.sqrt(3), 1 - math.sqrt(3)]) / (4 * math.sqrt(2))
_HIGHPASS = _LOWPASS[::-1] * np.array([1, -1, 1, -1])
"""Daubechies' wavelet with two vanishing moments: blind to a mean and to a straight trend."""
_FEWEST = 8
_OCTAVES_LEFT_OUT = 2
_FEWEST_OCTAVES = 4


@dataclass(frozen=True)
class Hurst:
    """`exponent` 0.5: no memory; towards 1: bursts at all scales. `error` is its standard error; it holds from the `shortest` to the
    `longest` octave, both in windows of the series.
    """

    exponent: float
    error: float
    shortest: int
    longest: int


def hurst(counts: npt.NDArray[np.generic]) -> Hurst | None:
    """Abry and Veitch's wavelet estimator (IEEE Trans. Information Theory 44, 1998): a weighted line through the log energy of the details
    by octave, without the two finest, where noise of another kind sits. None for too short a series or one that does not vary.
    """
    here = counts.astype(np.float64)
    nothing = 1e-20 * float(here @ here)  # what rounding leaves of details that are none
    energies, sizes = [], []
    while len(here) >= len(_LOWPASS) + 2 * _FEWEST:
        details, here = _halved(here, _HIGHPASS), _halved(here, _LOWPASS)
        energies.append(float((details**2).mean()))
        sizes.append(len(details))
    octaves = np.arange(_OCTAVES_LEFT_OUT + 1, len(energies) + 1)
    energy = np.array(energies[_OCTAVES_LEFT_OUT:])
    if len(octaves) < _FEWEST_OCTAVES or not (energy > nothing / len(counts)).all():
        return None
    half = np.array(sizes[_OCTAVES_LEFT_OUT:]) / 2
    # The mean of a log is less than the log of a mean: for n squares of normal values by this much.
    level = np.log2(energy) - (digamma(half) / math.log(2) - np.log2(half))
    weight = half * math.log(2) ** 2
    total, first, second = weight.sum(), (weight * octaves).sum(), (weight * octaves**2).sum()
    spread = total * second - first**2
    slope = (total * (weight * octaves * level).sum() - first * (weight * level).sum()) / spread
    return Hurst(float((slope + 1) / 2), float(math.sqrt(total / spread) / 2), 1 << int(octaves[0]), 1 << int(octaves[-1]))


def _halved(values: Floats, taps: Floats) -> Floats:
    windows = (len(values) - len(taps)) // 2 + 1
    return np.lib.stride_tricks.sliding_window_view(values, len(taps))[::2][:windows] @ taps


def autocorrelation(counts: npt.NDArray[np.generic], lags: int) -> Floats | None:
    """At lags 1 to `lags` (fewer for a short series); None for a series that does not vary. Those of independent counts stay within
    1.96 / sqrt(n), 19 times in 20.
    """
    off = counts.astype(np.float64) - counts.mean()
    whole = float(off @ off)
    if whole <= 0:
        return None
    return np.array([float(off[:-lag] @ off[lag:]) / whole for lag in range(1, min(lags, len(off) - 1) + 1)])


def dispersion(counts: npt.NDArray[np.generic]) -> float | None:
    """Variance over mean (1: Poisson); None without requests."""
    mean = float(counts.mean())
    return float(counts.var()) / mean if mean > 0 else None
