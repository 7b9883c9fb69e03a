"""Counts of keys: exact while they fit, a sample and the heaviest beyond."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.portrait.keys import KeyCounts, Ranked


def ranked(keys: np.ndarray, lot: int = 50_000, **bounds: int) -> Ranked:
    made = KeyCounts(**bounds)
    for at in range(0, len(keys), lot):
        made.add(keys[at : at + lot].astype(np.uint64))
    return made.ranked()


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=200), st.integers(1, 50))
def test_counts_are_exact_while_they_fit(keys: list[int], lot: int) -> None:
    found = ranked(np.array(keys, dtype=np.uint64), lot)
    assert found.exact
    assert found.counts.tolist() == sorted(np.unique(keys, return_counts=True)[1].tolist(), reverse=True)
    assert found.ranks().tolist() == list(range(1, len(found.counts) + 1))


@pytest.mark.parametrize("exponent", [1.1, 1.5, 2.5])
def test_beyond_that_totals_and_the_heaviest_are_near(exponent: float) -> None:
    rng = np.random.default_rng(2)
    count = 2_000_000
    keys = np.where(rng.random(count) < 0.7, rng.zipf(exponent, count) % 100_003, 1 << 33 | rng.integers(0, 10**6, count))
    exact, found = ranked(keys), ranked(keys, most=1 << 14, heavy=1 << 10)
    assert exact.exact and not found.exact and len(found.counts) < 1 << 15
    assert found.unique == pytest.approx(exact.unique, rel=0.05)
    assert found.requests == pytest.approx(count, rel=0.05)
    assert found.counts[:10].tolist() == pytest.approx(exact.counts[:10].tolist(), rel=0.02)
    once = float(found.weights[found.counts == 1].sum()) / found.unique
    assert once == pytest.approx(float((exact.counts == 1).mean()), abs=0.02)


def test_a_heavy_key_that_comes_late_is_found() -> None:
    scan = np.arange(1_000_000, dtype=np.uint64) + 10
    late = np.full(200_000, 3, dtype=np.uint64)
    found = ranked(np.concatenate((scan, late)), most=1 << 12, heavy=1 << 10)
    assert found.counts[0] == pytest.approx(200_000, rel=0.01)
