"""Zipf's exponent of draws with a known one, and how well the law fits."""

import numpy as np
import pytest

from traces import zipf


def ranked(probability: np.ndarray, requests: int) -> tuple[np.ndarray, np.ndarray]:
    counts = np.sort(np.random.default_rng(1).multinomial(requests, probability / probability.sum()))[::-1]
    counts = counts[counts > 0]
    return counts, np.ones(len(counts))


@pytest.mark.parametrize("exponent", [0.5, 0.8, 0.99, 1.0, 1.3, 2.0])
def test_the_exponent_of_draws_is_found_and_fits(exponent: float) -> None:
    found = zipf.fit(*ranked(np.arange(1, 20_001) ** -exponent, 2_000_000))
    assert found is not None
    assert found.exponent == pytest.approx(exponent, abs=0.05) and found.ks < 0.03


def test_what_is_not_zipf_does_not_fit() -> None:
    two_levels = np.concatenate((np.full(100, 50.0), np.full(10_000, 1.0)))
    found = zipf.fit(*ranked(two_levels, 1_000_000))
    assert found is not None and found.ks > 0.08


def test_keys_that_stand_for_several_count_as_several() -> None:
    counts, weights = ranked(np.arange(1, 5001) ** -0.9, 500_000)
    held, places = np.unique(-counts, return_index=True)
    grouped = zipf.fit(-held, np.diff(np.append(places, len(counts))).astype(float))
    whole = zipf.fit(counts, weights)
    assert grouped is not None and whole is not None
    assert grouped.exponent == pytest.approx(whole.exponent, abs=1e-4) and grouped.ks == pytest.approx(whole.ks, abs=1e-3)


def test_one_key_has_no_exponent() -> None:
    assert zipf.fit(np.array([9]), np.ones(1)) is None
