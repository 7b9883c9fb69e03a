"""Hurst's exponent of fractional noise of a known one, and what has none."""

import numpy as np
import pytest

from traces.dependence import autocorrelation, dispersion, hurst


def fractional_noise(exponent: float, count: int, seed: int) -> np.ndarray:
    """Davies and Harte's exact simulation of fractional Gaussian noise."""
    k = np.arange(count + 1, dtype=np.float64)
    covariance = 0.5 * (np.abs(k + 1) ** (2 * exponent) - 2 * k ** (2 * exponent) + np.abs(k - 1) ** (2 * exponent))
    power = np.fft.rfft(np.concatenate((covariance, covariance[-2:0:-1]))).real
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=len(power)) + 1j * rng.normal(size=len(power))
    normal[0], normal[-1] = normal[0].real * np.sqrt(2), normal[-1].real * np.sqrt(2)
    return np.fft.irfft(normal * np.sqrt(np.maximum(power, 0) / 2))[:count] * np.sqrt(2 * count)


@pytest.mark.parametrize("exponent", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_the_exponent_of_fractional_noise_is_found_within_its_error(exponent: float) -> None:
    found = [hurst(fractional_noise(exponent, 1 << 15, seed)) for seed in range(12)]
    values = np.array([each.exponent for each in found if each is not None])
    errors = np.array([each.error for each in found if each is not None])
    assert len(values) == 12
    assert values.mean() == pytest.approx(exponent, abs=0.02)
    assert (np.abs(values - exponent) < 3 * errors + 0.01).all()


def test_a_trend_does_not_look_like_memory() -> None:
    noise = np.random.default_rng(1).poisson(20, 1 << 14) + np.linspace(0, 40, 1 << 14)
    found = hurst(noise)
    assert found is not None and found.exponent == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("counts", [np.ones(10_000), np.random.default_rng(1).poisson(5, 50), np.zeros(0)])
def test_there_is_none_for_what_is_too_short_or_does_not_vary(counts: np.ndarray) -> None:
    assert hurst(counts) is None


def test_the_simulated_noise_has_the_covariance_that_it_should() -> None:
    noise = fractional_noise(0.8, 1 << 16, 3)
    lagged = autocorrelation(noise, 2)
    assert lagged is not None and lagged[0] == pytest.approx(2 ** (2 * 0.8 - 1) - 1, abs=0.05)
    assert noise.std() == pytest.approx(1, abs=0.15)


def test_autocorrelation_is_numpys() -> None:
    counts = np.random.default_rng(2).poisson(np.tile([5, 20, 5, 5], 500))
    found = autocorrelation(counts, 8)
    assert found is not None and len(found) == 8
    assert found[3] > 0.5 > found[1]
    assert found[0] == pytest.approx(np.corrcoef(counts[:-1], counts[1:])[0, 1], abs=0.01)
    assert autocorrelation(np.ones(9), 3) is None


def test_poisson_counts_have_a_dispersion_of_1() -> None:
    assert dispersion(np.random.default_rng(1).poisson(30, 50_000)) == pytest.approx(1, abs=0.03)
    assert dispersion(np.zeros(4)) is None
